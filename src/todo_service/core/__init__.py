"""The domain: users, refresh sessions, todos, and the engine that deletes what has had its time."""
