"""How work reaches the core: tasks and the command line."""
