"""PostgreSQL: settings, engine, sessions and migrations."""
