"""Fixtures for tests that talk to a real PostgreSQL, a real Redis and real worker processes."""
