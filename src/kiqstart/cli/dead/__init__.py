"""The commands `kiqstart dead …`."""
