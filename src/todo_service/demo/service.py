"""What runs the demo's tasks: worker and scheduler processes, or this process where there is no Redis."""

import asyncio
import os
import secrets
import sys
from asyncio.subprocess import PIPE
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, NoReturn, Protocol

from taskiq import TaskiqScheduler
from taskiq.api import run_scheduler_task

from kiqstart.cli.processes import ChildProcesses
from kiqstart.cli.terminal import echo
from todo_service.demo.errors import DemoError

_LAST_LINES: Final = 20
_DASHBOARD: Final = "dashboard"
_APP: Final = "todo_service.ioc.app:create_app"
_WORKER: Final = "todo_service.delivery.tasks.app:broker"


class Service(Protocol):
    """Worker and scheduler, however they run."""

    async def start_worker(self) -> None:
        """Begin to run tasks."""

    async def start_scheduler(self) -> None:
        """Begin to send what is due."""

    async def start_dashboard(self) -> tuple[str, str]:
        """Begin to serve the dashboard; gives its address and its password.

        Raises:
            DemoError: there is no Redis to show, or it does not come up.
        """
        ...

    async def fail(self) -> NoReturn:
        """Wait until worker or scheduler end by themselves, which they must not."""
        ...


@asynccontextmanager
async def process_service() -> AsyncGenerator[Service]:
    """A real worker and a real scheduler; both have ended afterwards."""
    last_lines: deque[str] = deque(maxlen=_LAST_LINES)
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def take(name: str, line: str) -> None:
        last_lines.append(f"{name}: {line}")
        before, _, place = line.partition(" is at ")
        if name == _DASHBOARD and before == "the dashboard":
            address.set_result(place)

    async with ChildProcesses(take) as processes:
        yield _ProcessService(processes, last_lines, address)


@asynccontextmanager
async def in_process_service(scheduler: TaskiqScheduler) -> AsyncGenerator[Service]:
    """The in-memory broker, which runs tasks where they are sent, and the scheduler's loop beside it."""
    service = _InProcessService(scheduler)
    try:
        yield service
    finally:
        await service.end()


class _ProcessService:
    def __init__(self, processes: ChildProcesses, last_lines: deque[str], address: asyncio.Future[str]) -> None:
        self._processes = processes
        self._address = address
        self._last_lines = last_lines

    async def start_worker(self) -> None:
        """Run `kiqstart worker`."""
        await self._processes.start("worker", "kiqstart", "worker", "--no-configure-logging", _WORKER)

    async def start_scheduler(self) -> None:
        """Run `taskiq scheduler`."""
        app = "todo_service.demo.app:scheduler"
        await self._processes.start("scheduler", "taskiq", "scheduler", "--no-configure-logging", app)

    async def start_dashboard(self) -> tuple[str, str]:
        """Run `kiqstart dashboard`, with a password of its own."""
        password = secrets.token_urlsafe(9)
        os.environ["KIQSTART_DASHBOARD_PASSWORD_HASH"] = await _hash_of(password)
        await self._processes.start(_DASHBOARD, "kiqstart", "--app", _APP, "dashboard", "--port", "0")
        return await self._address, password

    async def fail(self) -> NoReturn:
        """Wait for the first end, and show the last lines of the logs."""
        name, code = await self._processes.first_end()
        for line in self._last_lines:
            echo(line, err=True)
        raise DemoError(f"the {name} has ended with exit code {code}; above are the last lines of the logs")


async def _hash_of(password: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kiqstart", "--app", _APP, "dashboard", "hash-password"), stdin=PIPE, stdout=PIPE
    )
    made, _ = await process.communicate(password.encode())
    if process.returncode:
        raise DemoError("the dashboard's password cannot be hashed; above is why")
    return made.decode().strip()


class _InProcessService:
    def __init__(self, scheduler: TaskiqScheduler) -> None:
        self._scheduler = scheduler
        self._loop: asyncio.Task[None] | None = None

    async def start_worker(self) -> None:
        """Nothing is to be started."""

    async def start_scheduler(self) -> None:
        """Run the scheduler in this process."""
        self._scheduler.broker.is_scheduler_process = True
        self._loop = asyncio.create_task(run_scheduler_task(self._scheduler))

    async def start_dashboard(self) -> tuple[str, str]:
        """There is nothing that it could show."""
        raise DemoError("--dashboard shows what is in Redis, and there is none")

    async def fail(self) -> NoReturn:
        """Wait until the loop ends by an error."""
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._loop or never})
        raise DemoError("the scheduler's loop has ended")

    async def end(self) -> None:
        """Stop the loop."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait({self._loop})
