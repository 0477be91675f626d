"""Plain taskiq on taskiq-redis, with its stream broker or its list broker."""
