"""Options that several commands have."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Why = Annotated[
    str | None,
    typer.Option("--reason", "--because", metavar="TEXT", help="Why, for the log of acts (`kiqstart acts`)."),
]
Because = Annotated[
    str | None, typer.Option("--because", metavar="TEXT", help="Why, for the log of acts (`kiqstart acts`).")
]
Sure = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
