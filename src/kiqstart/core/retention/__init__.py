"""The engine that deletes rows in batches, each its own short transaction."""
