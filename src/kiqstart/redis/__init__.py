"""Redis: settings and the start-up check."""
