"""`python -m todo_service.demo`: all of it at work, on rows of its own."""

from pathlib import Path
from typing import Annotated

import typer

from kiqstart import OperatorError
from kiqstart.errors import print_error


def demo(
    *,
    rows: Annotated[int, typer.Option(min=10, help="Rows to delete, among as many to keep.")] = 200_000,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Keep it up at the end, with a dashboard.")] = False,
    svg: Annotated[Path | None, typer.Option(help="Write a picture of the last screen here.")] = None,
) -> None:
    """Show all of it at work, in under a minute.

    A real worker and a real scheduler delete real rows, in a database of their own that is dropped at the end.
    """
    from todo_service.demo.demo import run_demo

    try:
        run_demo(rows=rows, picture=svg, dashboard=dashboard)
    except OperatorError as error:
        print_error(error)
        raise typer.Exit(1) from None


app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None, add_completion=False)
app.command()(demo)
app()
