"""The commands `kiqstart dashboard …`."""
