"""The commands `kiqstart tasks …`."""
