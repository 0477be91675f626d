"""The command `kiqstart`, where it runs in the test's process."""

from functools import cache
from typing import Final

import typer.main

# To put all commands together takes as long as to run one.
PUT_TOGETHER_ONCE: Final = cache(typer.main.get_command)
