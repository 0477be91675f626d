"""The tasks: their names, registry, schedules and controllers."""
