"""Where tasks run whose workers have died repeatedly: each in a process of its own, which may die."""
