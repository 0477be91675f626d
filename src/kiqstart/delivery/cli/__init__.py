"""The `kiqstart` command."""
