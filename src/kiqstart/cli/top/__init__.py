"""`kiqstart top`."""
