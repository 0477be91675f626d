"""An application's PostgreSQL, as commands and fixtures meet it."""
