"""One file for each task controller."""
