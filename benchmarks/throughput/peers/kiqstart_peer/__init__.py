"""kiqstart, in the project's own environment."""
