pytest_plugins = ["kiqstart.testing.plugin", "tests.printable_reports"]
