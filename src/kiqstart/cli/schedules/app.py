"""The declarations of `kiqstart schedules …`; what a command needs is imported when it runs."""

from typing import Annotated

import typer

from kiqstart.cli.completion import schedule_names
from kiqstart.cli.options import Json, Why

schedules = typer.Typer(help="Inspect schedules; pause, resume, run and remove them.", no_args_is_help=True)

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME...", help="Names, as `kiqstart schedules list` has them.", autocompletion=schedule_names
    ),
]


@schedules.command("list")
def list_(
    *,
    limit: Annotated[int, typer.Option(min=0, max=1_000_000, help="How many dynamic schedules at most.")] = 100,
    as_json: Json = False,
) -> None:
    """List schedules with their last and next runs.

    The static ones, then the dynamic ones: those that are paused first, then those that are due soonest.
    """
    from kiqstart.cli.schedules.listing import run_list

    run_list(limit=limit, as_json=as_json)


@schedules.command("next")
def next_(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="Which schedules; by default the static ones.", autocompletion=schedule_names
        ),
    ] = None,
    *,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="2026-10-24T12:00, in the schedule's time zone; by default now."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many runs of each.")] = 10,
    as_json: Json = False,
) -> None:
    """Show upcoming runs, in local time and in UTC.

    Static schedules need no Redis.
    """
    from kiqstart.cli.schedules.upcoming import run_next

    run_next(names or [], start=start, count=count, as_json=as_json)


@schedules.command()
def pause(names: Names, *, reason: Why = None) -> None:
    """Pause schedules until they are resumed.

    Runs that they miss meanwhile are not caught up. The exit code is 1 if one is unknown.
    """
    from kiqstart.cli.schedules.changing import run_change

    raise typer.Exit(run_change("pause", names, reason=reason))


@schedules.command()
def resume(names: Names, *, reason: Why = None) -> None:
    """Resume paused schedules.

    The exit code is 1 if one is unknown.
    """
    from kiqstart.cli.schedules.changing import run_change

    raise typer.Exit(run_change("resume", names, reason=reason))


@schedules.command()
def run(
    names: Names,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the results, and print them.")] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds to wait for each; by default, until it has ended.")
    ] = None,
    reason: Why = None,
) -> None:
    """Send schedules' tasks now, in addition to their own times.

    Prints the tasks' ids. The exit code is 1 if one was not sent or, with --wait, failed.
    """
    from kiqstart.cli.schedules.running import run_run

    raise typer.Exit(run_run(names, wait=wait, timeout=timeout, reason=reason))


@schedules.command()
def remove(names: Names, *, reason: Why = None) -> None:
    """Remove dynamic schedules, those that were added at run time.

    Static ones are removed in the code. The exit code is 1 if one is unknown.
    """
    from kiqstart.cli.schedules.changing import run_change

    raise typer.Exit(run_change("remove", names, reason=reason))
