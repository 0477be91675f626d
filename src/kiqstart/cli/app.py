"""The command `kiqstart`.

Each command is declared here and lives in a file of its own, which is imported when the command runs: `--help` stays
quick that way.
"""

import io
from enum import StrEnum
from typing import Annotated, Any, Final, NoReturn, cast

import typer

from kiqstart.cli.completion import paused_names, queue_names
from kiqstart.cli.dashboard.app import dashboard
from kiqstart.cli.dead.app import dead
from kiqstart.cli.options import Json, Why
from kiqstart.cli.retention.app import retention
from kiqstart.cli.runs.app import runs
from kiqstart.cli.schedules.app import schedules
from kiqstart.cli.tasks.app import tasks
from kiqstart.cli.terminal import echo

app = typer.Typer(
    help="Background tasks on taskiq: run them, inspect them, and watch them work.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help: to import rich for it would cost more than all the rest.
    rich_markup_mode=None,
)
app.add_typer(schedules, name="schedules")
app.add_typer(dead, name="dead")
app.add_typer(runs, name="runs")
app.add_typer(retention, name="retention")
app.add_typer(tasks, name="tasks")
app.add_typer(dashboard, name="dashboard")


class Kind(StrEnum):
    """What can be paused."""

    QUEUE = "queue"
    TASK = "task"


# The base of what Typer raises for arguments that are none, whichever click it brings.
_ARGUMENT_ERROR: Final = cast(
    "type[Exception]", next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
)


def run_app() -> NoReturn:
    """Run a command; arguments that are none are quoted without what could harm a terminal.

    Raises:
        SystemExit: it has ended.
        OperatorError: it has failed.
    """
    try:
        # By whatever name it was started: a shell completes this one.
        code = cast("int | None", app(prog_name="kiqstart", standalone_mode=False))
    except typer.Abort:
        echo("Aborted!", err=True)
        raise SystemExit(1) from None
    except _ARGUMENT_ERROR as error:
        written = io.StringIO()
        cast("Any", error).show(written)
        echo(written.getvalue().rstrip("\n"), err=True)
        raise SystemExit(cast("Any", error).exit_code) from None
    raise SystemExit(code or 0)


@app.callback()
def choose(
    *,
    app_place: Annotated[
        str | None,
        typer.Option(
            "--app",
            metavar="MODULE:NAME",
            help="The application; by default that of KIQSTART_APP, or of [tool.kiqstart] in pyproject.toml.",
        ),
    ] = None,
) -> None:
    """Background tasks on taskiq: run them, inspect them, and watch them work."""
    if app_place is not None:
        from kiqstart.cli.application import choose_application

        choose_application(app_place)


@app.command()
def up() -> None:
    """Run servers, worker and scheduler until Ctrl-C.

    PostgreSQL and Redis are started unless the environment or .env names them.
    """
    from kiqstart.cli.up import run_up

    raise typer.Exit(run_up())


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}
)
def worker(arguments: Annotated[list[str] | None, typer.Argument(metavar="[MODULE:BROKER] [OPTIONS]")] = None) -> None:
    """Run the application's tasks, or those of another broker; takes taskiq's options."""
    from kiqstart.cli.worker import run

    raise typer.Exit(run(arguments or []))


@app.command()
def scheduler(
    *,
    configure_logging: Annotated[
        bool, typer.Option(help="Write log lines as taskiq does, unless the application sets up its own.")
    ] = True,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve /metrics, /healthz and /readyz at this port; 0 for any free one."),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
) -> None:
    """Send the scheduled tasks when they are due, until SIGTERM or Ctrl-C; several may run side by side."""
    from kiqstart.cli.scheduler import run_scheduler

    run_scheduler(configure_logging=configure_logging, host=host, port=port)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def local(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND", help="The command and its arguments.")],
) -> None:
    """Run a command with DATABASE_URL and REDIS_URL.

    Unless the environment or .env names them, they point to local servers that end with the command.
    """
    from kiqstart.cli.local import run_local

    raise typer.Exit(run_local(command))


@app.command()
def shell() -> None:
    """Open an async Python prompt on the application.

    `app`, `broker`, `registry` and the names that the application gives are ready to use.

    Lines from a pipe are run until one raises.
    """
    from kiqstart.cli.shell import run_shell

    raise typer.Exit(run_shell())


@app.command()
def migrate(
    *,
    to: Annotated[str, typer.Option(metavar="REVISION", help="Upgrade to this revision.")] = "head",
    down: Annotated[
        str | None,
        typer.Option(metavar="REVISION", help="Downgrade instead: to a revision, -1 for one step, base for nothing."),
    ] = None,
    worker_role: Annotated[
        str | None,
        typer.Option(metavar="ROLE", help="Then grant this role the least PostgreSQL privileges that a worker needs."),
    ] = None,
) -> None:
    """Bring the database's schema up to date."""
    from kiqstart.cli.migrations import run_migrate

    run_migrate(to=to, down=down, worker_role=worker_role)


@app.command()
def migration(name: Annotated[str, typer.Argument(help='What it does: "add a table".')]) -> None:
    """Write a migration from the models' changes."""
    from kiqstart.cli.migrations import run_migration

    run_migration(name)


@app.command()
def check(
    *,
    scheduler: Annotated[bool, typer.Option("--scheduler", help="Fail if no scheduler is running.")] = False,
    role: Annotated[
        str | None,
        typer.Option(
            metavar="ROLE",
            help="Check the Redis rights of this role only: producer, worker, scheduler, operator or monitor.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check settings, servers and schema, and whether a scheduler is running.

    The exit code is 1 if a check fails. A missing scheduler is only noted, unless --scheduler is given.
    """
    from kiqstart.cli.check import run_check

    raise typer.Exit(run_check(needs_scheduler=scheduler, role=role, as_json=as_json))


@app.command()
def metrics() -> None:
    """Print the metrics that Prometheus collects: tasks, workers, dead letters, schedulers and schedules."""
    from kiqstart.cli.metrics import run_metrics

    run_metrics()


@app.command()
def workers(
    *,
    lost: Annotated[
        bool, typer.Option("--lost", help="Those that died in the last seven days: where each was, and what it ran.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the workers: where each is, which queues it takes, how many tasks it has, and what runs."""
    from kiqstart.cli.fleet import run_lost_workers, run_workers

    (run_lost_workers if lost else run_workers)(as_json=as_json)


@app.command()
def queues(*, as_json: Json = False) -> None:
    """Show how many tasks wait in each queue, for how long, and how many workers take it.

    The exit code is 1 if tasks wait in a queue that no worker takes.
    """
    from kiqstart.cli.fleet import run_queues

    raise typer.Exit(run_queues(as_json=as_json))


@app.command()
def top(
    *,
    interval: Annotated[float, typer.Option(min=0.5, max=3600, help="Seconds between two frames.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Show what is going on, redrawn until q or Ctrl-C: queues, workers, tasks, and what runs.

    If standard output is not a terminal, or with --json, one frame is printed.
    """
    from kiqstart.cli.top.watching import run_top

    run_top(interval=interval, as_json=as_json)


@app.command()
def doctor(*, as_json: Json = False) -> None:
    """Check whether Redis is set up to keep what is entrusted to it.

    The exit code is 1 if it may lose tasks.
    """
    from kiqstart.cli.doctor import run_doctor

    raise typer.Exit(run_doctor(as_json=as_json))


@app.command()
def ping(
    *,
    queue: Annotated[
        str, typer.Option(help="The queue whose workers are asked.", autocompletion=queue_names)
    ] = "default",
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the answer.")] = 5.0,
) -> None:
    """Send a task that every worker has, and wait for the answer."""
    from kiqstart.cli.ping import run_ping

    run_ping(queue=queue, timeout=timeout)


@app.command()
def cancel(
    task_ids: Annotated[list[str], typer.Argument(metavar="TASK_ID", help="The tasks' ids.")],
    *,
    reason: Why = None,
) -> None:
    """Cancel waiting or running tasks.

    A running one is stopped within a second or so, a waiting one is never run. The exit code is 1 if one had ended.
    """
    from kiqstart.cli.cancel import run_cancel

    raise typer.Exit(run_cancel(task_ids, reason=reason))


PauseKind = Annotated[Kind, typer.Argument(metavar="queue|task", help="What is named.")]
PausedNames = Annotated[
    list[str],
    typer.Argument(metavar="NAME...", help="The names of queues, or of tasks.", autocompletion=paused_names),
]


Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where", metavar="ARGUMENT=VALUE", help="Only calls of the task with this value; if repeated, all must match."
    ),
]


@app.command()
def pause(kind: PauseKind, names: PausedNames, *, where: Where = None, reason: Why = None) -> None:
    """Pause queues, tasks or calls: `kiqstart pause queue low`, `pause task mail.send --where customer=7`.

    Within a second or so workers start none of it; what is running finishes, what waits is kept.
    """
    from kiqstart.broker.pauses import Pausable
    from kiqstart.cli.pausing import run_pause

    raise typer.Exit(run_pause(Pausable(kind.value), names, where=where or [], reason=reason))


@app.command()
def resume(kind: PauseKind, names: PausedNames, *, where: Where = None, reason: Why = None) -> None:
    """Resume paused queues, tasks or calls; with the same --where as they were paused.

    The exit code is 1 if one is not paused.
    """
    from kiqstart.broker.pauses import Pausable
    from kiqstart.cli.pausing import run_resume

    raise typer.Exit(run_resume(Pausable(kind.value), names, where=where or [], reason=reason))


@app.command()
def acts(
    *,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """Show who paused, resumed, ran, cancelled, retried or purged what, when and why; the newest first."""
    from kiqstart.cli.acts import run_acts

    run_acts(limit=limit, as_json=as_json)
