"""The commands `kiqstart schedules …`."""
