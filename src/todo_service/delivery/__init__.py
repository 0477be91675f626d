"""How work reaches the core: as tasks."""
