"""Users, refresh sessions and todos, whose clean-ups are tasks: the service of the tutorials, built on kiqstart."""
