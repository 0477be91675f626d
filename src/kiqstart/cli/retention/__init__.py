"""`kiqstart retention …`: what the clean-ups would do, and the engine's own tables."""
