"""The libraries that are measured, each a program that runs in an environment of its own: `python -m …peers.NAME`."""
