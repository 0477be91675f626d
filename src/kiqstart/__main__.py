"""`python -m kiqstart`: the command `kiqstart`."""

from kiqstart.delivery.cli.main import main

main()
