"""People who own sessions and todos."""
