"""The commands `kiqstart runs …`."""
