"""How a worker runs the tasks that it has fetched."""
