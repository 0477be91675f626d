"""A shop that has its background tasks run by kiqstart."""
