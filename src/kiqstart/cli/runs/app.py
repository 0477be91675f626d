"""The declarations of `kiqstart runs …`; what a command needs is imported when it runs."""

from typing import Annotated

import typer

from kiqstart.cli.completion import queue_names, task_names
from kiqstart.cli.options import Sure, Why

runs = typer.Typer(
    help="Look at how tasks ended in the last hours, at those that have not, and at one; send again what failed.",
    invoke_without_command=True,
)

Task = Annotated[
    str | None, typer.Option("--task", metavar="NAME", help="Only those of this task.", autocompletion=task_names)
]
Outcome = Annotated[
    str | None,
    typer.Option(metavar="OUTCOME", help="Only those that ended so: succeeded, failed, retried, dead or cancelled."),
]
Queue = Annotated[
    str | None, typer.Option(metavar="NAME", help="Only those of this queue.", autocompletion=queue_names)
]
Text = Annotated[
    str | None,
    typer.Option(help="Only those with this text in their id, name, arguments, result, error, log, worker or host."),
]
Since = Annotated[
    str | None, typer.Option(metavar="AGE", help="Only those that ended so long ago at most: 90s, 30m, 12h, 7d.")
]
Arguments = Annotated[
    list[str] | None,
    typer.Option(
        "--argument",
        metavar="NAME=VALUE",
        help='Only calls whose argument has this value, as JSON has it: customer=7 is a number, customer="7" a text, '
        "and so is what is no JSON. May be given several times.",
    ),
]
State = Annotated[
    str | None,
    typer.Option(metavar="STATE", help="Tasks that have not ended instead: waiting, delayed or running."),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@runs.callback()
def choose(context: typer.Context) -> None:
    """Look at how tasks ended in the last hours, at those that have not, and at one; send again what failed."""
    if context.invoked_subcommand is None:
        list_()


@runs.command("list")
def list_(
    *,
    task: Task = None,
    outcome: Outcome = None,
    queue: Queue = None,
    since: Since = None,
    text: Text = None,
    argument: Arguments = None,
    state: State = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    look_at: Annotated[
        int | None,
        typer.Option(min=1, metavar="COUNT", help="With --state: how many are looked at, 10000 if not said."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the newest runs, newest first; or tasks that have not ended, the oldest or first due before the others."""
    from kiqstart.cli.runs.listing import run_list, run_list_outstanding
    from kiqstart.operations.run_selection import parse_state, which_runs

    place = parse_state(state, outcome=outcome, since=since, look_at=look_at)
    which = which_runs(task=task, outcome=outcome, queue=queue, since=since, text=text, arguments=argument or ())
    if place is None:
        run_list(which, limit=limit, as_json=as_json)
    else:
        run_list_outstanding(place, which, limit=limit, most=look_at, as_json=as_json)


@runs.command()
def show(
    task_id: Annotated[str, typer.Argument(metavar="TASK_ID", help="The task's id.")], *, as_json: AsJson = False
) -> None:
    """Show what became of a task: each of its runs that is kept, and where it is now if it has not ended.

    The exit code is 1 if nothing of it is there.
    """
    from kiqstart.cli.runs.looking import run_show

    run_show(task_id, as_json=as_json)


@runs.command()
def watch(
    *,
    task: Task = None,
    outcome: Outcome = None,
    queue: Queue = None,
    text: Text = None,
    argument: Arguments = None,
    as_json: AsJson = False,
) -> None:
    """Print runs as they end, until Ctrl-C; with --json an object a line."""
    from kiqstart.cli.runs.watching import run_watch
    from kiqstart.operations.run_selection import which_runs

    which = which_runs(task=task, outcome=outcome, queue=queue, text=text, arguments=argument or ())
    run_watch(which, as_json=as_json)


@runs.command()
def retry(
    task_ids: Annotated[list[str] | None, typer.Argument(metavar="TASK_ID", help="The ids of tasks.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All of them, or all that the options below leave.")] = False,
    task: Task = None,
    queue: Queue = None,
    since: Since = None,
    text: Text = None,
    argument: Arguments = None,
    yes: Sure = False,
    why: Why = None,
) -> None:
    """Send tasks again whose last run failed: those of these ids, or all that the options leave, after a question.

    Each task keeps its id, and its retries count anew; a failed run is sent again once. Dead letters are not among them
    (`kiqstart dead retry`). The exit code is 1 if a task is unknown or was not sent.
    """
    from kiqstart.cli.runs.resending import run_retry
    from kiqstart.operations.run_resending import FailedRuns

    failed = FailedRuns(task=task, queue=queue, since=since, text=text, arguments=argument or ())
    raise typer.Exit(run_retry(task_ids or [], failed, every=every, is_sure=yes, why=why))
