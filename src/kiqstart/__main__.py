"""`python -m kiqstart`: the command `kiqstart`."""

from kiqstart.cli.main import main

main()
