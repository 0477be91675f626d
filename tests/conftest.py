pytest_plugins = ["kiqstart.testing.plugin"]
