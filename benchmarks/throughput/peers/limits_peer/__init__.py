"""Bare loops with the commands that a durable queue on a stream cannot do without."""
