"""The domain: users, refresh sessions and todos, and which of their rows have had their time."""
