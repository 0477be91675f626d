"""Where all parts are put together."""
