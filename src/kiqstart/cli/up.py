"""`kiqstart up`: everything, until Ctrl-C."""

import os
import sys
from typing import Final

from kiqstart.cli.processes import ChildProcesses
from kiqstart.cli.servers import migrate_local, servers
from kiqstart.cli.signals import exit_on_signal, run_until_signal
from kiqstart.cli.terminal import shown_lines
from kiqstart.errors import OperatorError
from kiqstart.observability.redaction import redact_url
from kiqstart.redis.settings import RedisSettings
from kiqstart.settings import load_settings
from todo_service.infrastructure.database.settings import DatabaseSettings

_COLOURS: Final = {"worker": "\x1b[36m", "scheduler": "\x1b[35m"}
_PLAIN: Final = "\x1b[0m"


class NoWorkerError(OperatorError):
    """There is no Redis that a worker could take tasks from."""


def run_up() -> int:
    """Run servers, worker and scheduler until a signal or until one of the two ends; return that one's exit code."""
    with exit_on_signal(), servers() as found:
        redis = load_settings(RedisSettings)
        if redis.is_in_memory:
            raise NoWorkerError(
                "REDIS_URL=memory:// runs tasks in the program that sends them, so a worker has nothing to do: "
                "name a Redis, or unset REDIS_URL"
            )
        database = load_settings(DatabaseSettings).database_url.get_secret_value()
        migrate_local(found)
        _show(f"PostgreSQL  {redact_url(database.replace('+asyncpg', '', 1))}")
        _show(f"Redis       {redact_url(redis.redis_url.get_secret_value())}")
        _show("`make shell` in another terminal sends tasks. Ctrl-C ends all this.")
        return run_until_signal(_worker_and_scheduler())


async def _worker_and_scheduler() -> int:
    async with ChildProcesses(_show_line) as processes:
        await processes.start("worker", "kiqstart", "worker", "--no-configure-logging", "--workers", "2")
        await processes.start(
            "scheduler", "taskiq", "scheduler", "--no-configure-logging", "todo_service.delivery.tasks.app:scheduler"
        )
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
