"""An async background-task service on taskiq: one to run as it is, and one to build on."""
