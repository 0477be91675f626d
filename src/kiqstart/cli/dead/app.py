"""The declarations of `kiqstart dead …`; what a command needs is imported when it runs."""

from typing import Annotated

import typer

from kiqstart.cli.completion import task_names
from kiqstart.cli.options import Because, Json, Sure

dead = typer.Typer(help="Inspect messages that could not be run; send them again or drop them.", no_args_is_help=True)

Letters = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Ids of letters, as `kiqstart dead list` has them, or of their tasks."),
]
Task = Annotated[
    str | None, typer.Option("--task", metavar="NAME", help="Only those of this task.", autocompletion=task_names)
]
Reason = Annotated[
    str | None,
    typer.Option(
        metavar="REASON",
        help="Only those with this reason: malformed, untrusted, too-large, unknown-task, invalid-arguments, "
        "worker-lost, retries-exhausted, not-acknowledged or middleware-failed.",
    ),
]
Age = Annotated[str | None, typer.Option(metavar="AGE", help="Only those that are older than this: 90s, 30m, 12h, 7d.")]
Every = Annotated[bool, typer.Option("--all", help="All of them, or all that match the other options.")]


@dead.command("list")
def list_(
    *,
    task: Task = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List the newest dead letters, newest first, and their totals by task and reason."""
    from kiqstart.cli.dead.looking import run_list

    run_list(task=task, reason=reason, limit=limit, as_json=as_json)


@dead.command()
def show(
    letter: Annotated[
        str, typer.Argument(metavar="ID", help="A letter's id, as `kiqstart dead list` has it, or its task's.")
    ],
    *,
    as_json: Json = False,
) -> None:
    """Show a dead letter: its message and what went wrong. Of a task with several, the newest."""
    from kiqstart.cli.dead.looking import run_show

    run_show(letter, as_json=as_json)


@dead.command()
def retry(
    letters: Letters = None,
    *,
    every: Every = False,
    task: Task = None,
    reason: Reason = None,
    older_than: Age = None,
    yes: Sure = False,
    because: Because = None,
) -> None:
    """Send dead letters to their queues again: those with these ids, or all that match, after a confirmation.

    Each task keeps its id, and its retries start from zero. The exit code is 1 if a letter is unknown or had to stay.
    """
    from kiqstart.cli.dead.ending import run_retry
    from kiqstart.operations.dead_selection import Filters, check_selection

    filters = Filters(task=task, reason=reason, older_than=older_than)
    check_selection(letters or [], filters, every=every)
    raise typer.Exit(run_retry(letters or [], filters, is_sure=yes, why=because))


@dead.command()
def purge(
    letters: Letters = None,
    *,
    every: Every = False,
    task: Task = None,
    reason: Reason = None,
    older_than: Age = None,
    yes: Sure = False,
    because: Because = None,
) -> None:
    """Drop dead letters for good: those with these ids, or all that match, after a confirmation.

    The exit code is 1 if a letter is unknown.
    """
    from kiqstart.cli.dead.ending import run_purge
    from kiqstart.operations.dead_selection import Filters, check_selection

    filters = Filters(task=task, reason=reason, older_than=older_than)
    check_selection(letters or [], filters, every=every)
    raise typer.Exit(run_purge(letters or [], filters, is_sure=yes, why=because))
