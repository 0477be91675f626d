"""The declarations of `kiqstart schedules …`; what a command needs is imported when it runs."""

from typing import Annotated

import typer

from kiqstart.cli.completion import schedule_names
from kiqstart.cli.options import Json, Why

schedules = typer.Typer(help="Look at schedules; pause, resume, run and remove them.", no_args_is_help=True)

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME...", help="Names, as `kiqstart schedules list` has them.", autocompletion=schedule_names
    ),
]


@schedules.command("list")
def list_(
    *,
    limit: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="How many at most of those that are not in the table.")
    ] = 100,
    as_json: Json = False,
) -> None:
    """List schedules with their last and their next run.

    All of the table, then those that were added: the paused ones first, then those that are due soonest.
    """
    from kiqstart.cli.schedules.listing import run_list

    run_list(limit=limit, as_json=as_json)


@schedules.command("next")
def next_(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="Which schedules; without names, the table's.", autocompletion=schedule_names
        ),
    ] = None,
    *,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="2026-10-24T12:00, in the schedule's time zone; else now."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many runs of each.")] = 10,
    as_json: Json = False,
) -> None:
    """Show upcoming runs, in local time and in UTC.

    Those of the table in this code need no Redis.
    """
    from kiqstart.cli.schedules.upcoming import run_next

    run_next(names or [], start=start, count=count, as_json=as_json)


@schedules.command()
def pause(names: Names, *, reason: Why = None) -> None:
    """Let schedules not be due until they are resumed.

    What they miss meanwhile is not caught up. The exit code is 1 if one is unknown.
    """
    from kiqstart.cli.schedules.changing import run_pause

    raise typer.Exit(run_pause(names, reason=reason))


@schedules.command()
def resume(names: Names, *, reason: Why = None) -> None:
    """Let paused schedules be due again.

    The exit code is 1 if one is unknown.
    """
    from kiqstart.cli.schedules.changing import run_resume

    raise typer.Exit(run_resume(names, reason=reason))


@schedules.command()
def run(
    names: Names,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the results, and print them.")] = False,
    timeout: Annotated[float | None, typer.Option(min=0.1, help="Seconds to wait for each; else for ever.")] = None,
    reason: Why = None,
) -> None:
    """Send schedules' tasks now, beside their own times.

    Prints the tasks' ids. The exit code is 1 if one was not sent or, with --wait, failed.
    """
    from kiqstart.cli.schedules.running import run_run

    raise typer.Exit(run_run(names, wait=wait, timeout=timeout, reason=reason))


@schedules.command()
def remove(names: Names, *, reason: Why = None) -> None:
    """Remove schedules that were added while the service ran.

    The table's are removed in the table. The exit code is 1 if one is unknown.
    """
    from kiqstart.cli.schedules.changing import run_remove

    raise typer.Exit(run_remove(names, reason=reason))
