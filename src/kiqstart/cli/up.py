"""`kiqstart up`: everything, until Ctrl-C."""

import os
import sys
from typing import Final

from kiqstart.cli.application import application
from kiqstart.cli.processes import ChildProcesses
from kiqstart.cli.servers import migrate_local, servers
from kiqstart.cli.signals import exit_on_signal, run_until_signal
from kiqstart.cli.terminal import shown, shown_lines
from kiqstart.errors import OperatorError
from kiqstart.observability.redaction import redact_url
from kiqstart.redis.settings import IN_MEMORY_URL

_COLOURS: Final = {"worker": "\x1b[36m", "scheduler": "\x1b[35m"}
_PLAIN: Final = "\x1b[0m"


class NoWorkerError(OperatorError):
    """There is no Redis that a worker could take tasks from."""


def run_up() -> int:
    """Run servers, worker and scheduler until a signal or until one of the two ends; return that one's exit code."""
    with exit_on_signal(), servers() as found:
        redis_url, database_url = os.environ["REDIS_URL"], os.environ["DATABASE_URL"]
        if redis_url == IN_MEMORY_URL:
            raise NoWorkerError(
                "REDIS_URL=memory:// runs tasks in the program that sends them, so a worker has nothing to do: "
                "name a Redis, or unset REDIS_URL"
            )
        migrate_local(found)
        _show(f"PostgreSQL  {shown(redact_url(database_url.replace('+asyncpg', '', 1)))}")
        _show(f"Redis       {shown(redact_url(redis_url))}")
        _show("`kiqstart local -- kiqstart shell` in another terminal sends tasks. Ctrl-C ends all this.")
        return run_until_signal(_worker_and_scheduler())


async def _worker_and_scheduler() -> int:
    async with ChildProcesses(_show_line) as processes:
        # An application that sets up its own log has it alone.
        log = ["--no-configure-logging"] if application().configure_logging is not None else []
        await processes.start("worker", "kiqstart", "worker", "--workers", "2", *log)
        await processes.start("scheduler", "kiqstart", "scheduler", *log)
        name, code = await processes.first_end()
        _show(f"The {name} has ended with exit code {code}; so the rest ends, too.")
        return code


def _show_line(name: str, line: str) -> None:
    prefix = f"{name:9} │ "
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        prefix = f"{_COLOURS[name]}{prefix}{_PLAIN}"
    _show(prefix + shown_lines(line))


def _show(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
