"""The declarations of `kiqstart tasks …`; what a command needs is imported when it runs."""

from typing import Annotated

import typer

from kiqstart.cli.completion import task_names
from kiqstart.cli.options import Json, Why

tasks = typer.Typer(help="List the tasks and when each is due next; run one.", invoke_without_command=True)


@tasks.callback()
def by_default(context: typer.Context) -> None:
    """List the tasks and when each is due next; run one."""
    if context.invoked_subcommand is None:
        list_()


@tasks.command("list")
def list_(*, as_json: Json = False) -> None:
    """List the tasks with their arguments and schedules; what `kiqstart tasks` does without a command's name.

    No server is needed. If Redis can be reached, it says which tasks are paused.
    """
    from kiqstart.cli.tasks.listing import run_tasks

    run_tasks(as_json=as_json)


@tasks.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The task's name.", autocompletion=task_names)],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[--ARGUMENT VALUE]...", help="Its arguments, as `run NAME --help` has them."),
    ] = None,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the result, and print it.")] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds to wait; by default, until it has ended or is gone.")
    ] = None,
    progress: Annotated[
        bool, typer.Option("--progress", help="Wait, and say on standard error how far it is.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check it, print the message that would be sent, and send nothing.")
    ] = False,
    reason: Why = None,
) -> None:
    """Send a task now, its arguments as options: `kiqstart tasks run session.cleanup --days-old 7 --wait`.

    The options may follow the name too, unless the task has an argument of that name, which then takes precedence.
    The exit code is 1 if it was not sent or, with --wait, failed.
    """
    from kiqstart.cli.tasks.call_options import RunOptions
    from kiqstart.cli.tasks.running import run_run

    own = RunOptions(wait=wait, timeout=timeout, progress=progress, dry_run=dry_run, reason=reason)
    raise typer.Exit(run_run(name, arguments or [], own))
