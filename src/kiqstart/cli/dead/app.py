"""The declarations of `kiqstart dead …`; what a command needs is imported when it runs."""

from typing import Annotated

import typer

dead = typer.Typer(help="Look at messages that could not be run; send them again or drop them.", no_args_is_help=True)

Letters = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids, as `kiqstart dead list` has them.")]
Task = Annotated[str | None, typer.Option("--task", metavar="NAME", help="Only those of this task.")]
Reason = Annotated[
    str | None,
    typer.Option(
        metavar="REASON",
        help="Only those with this reason: malformed, unknown-task, invalid-arguments, worker-lost, retries-exhausted, "
        "not-acknowledged or middleware-failed.",
    ),
]


@dead.command("list")
def list_(
    *,
    task: Task = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
) -> None:
    """List the newest dead letters, newest first."""
    from kiqstart.cli.dead.looking import run_list

    run_list(task=task, reason=reason, limit=limit)


@dead.command()
def show(letter: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `kiqstart dead list` has it.")]) -> None:
    """Show a dead letter: its message and what went wrong."""
    from kiqstart.cli.dead.looking import run_show

    run_show(letter)


@dead.command()
def retry(
    letters: Letters = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All of them, or all that the options below leave.")] = False,
    task: Task = None,
    reason: Reason = None,
) -> None:
    """Send dead letters to their queues again.

    Each task keeps its id, and its retries count anew. The exit code is 1 if a letter is unknown or had to stay.
    """
    from kiqstart.cli.dead.ending import run_retry

    raise typer.Exit(run_retry(letters or [], every=every, task=task, reason=reason))


@dead.command()
def purge(
    letters: Letters = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All of them, or all that are old enough.")] = False,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="With --all: only those that are older: 90s, 30m, 12h, 7d.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Drop dead letters for good.

    The exit code is 1 if a letter is unknown.
    """
    from kiqstart.cli.dead.ending import run_purge

    raise typer.Exit(run_purge(letters or [], every=every, older_than=older_than, is_sure=yes))
