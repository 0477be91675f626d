"""Runs that take one statement at a time, when they are told to."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import URL, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.util import await_only

from kiqstart.retention.report import RetentionReport

# After so long, who was told to take a step is held up by a lock of somebody else who was not.
_SECONDS_FOR_A_STEP: Final = 0.03


@dataclass(kw_only=True)
class Gate:
    """Lets a statement through for each step, or all once it is open. What waits for locks is left waiting."""

    is_open: bool = False
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def pass_through(self) -> None:
        """Wait for one's turn."""
        if self.is_open:
            return
        self._arrived.set()
        try:
            await self._turns.acquire()
        finally:
            self._arrived.clear()

    async def let_one_through(self, task: asyncio.Task[Any]) -> bool:
        """Let the task's next statement through, and wait until it is at the gate again, done, or held up.

        Returns whether it is at the gate.
        """
        if self._arrived.is_set():
            self._arrived.clear()
            self._turns.release()
        arrival = asyncio.create_task(self._arrived.wait())
        await asyncio.wait({arrival, task}, timeout=_SECONDS_FOR_A_STEP, return_when=asyncio.FIRST_COMPLETED)
        arrival.cancel()
        return self._arrived.is_set()

    def open(self) -> None:
        """Let everything through from now on."""
        self.is_open = True
        self._turns.release()


class Actor:
    """A worker with connections of its own, whose runs stop before each statement and each commit."""

    def __init__(self, url: URL, name: str) -> None:
        self.name: Final = name
        self._pool: Final[AsyncEngine] = create_async_engine(
            url, pool_pre_ping=True, connect_args={"server_settings": {"application_name": name}}
        )
        self.sessions: Final = async_sessionmaker(self._pool, expire_on_commit=False, class_=AsyncSession)
        self.stop = asyncio.Event()
        self._gate = Gate()
        self._run: asyncio.Task[RetentionReport] | None = None
        event.listen(self._pool.sync_engine, "before_cursor_execute", self._wait)
        event.listen(self._pool.sync_engine, "commit", self._wait)

    @property
    def is_busy(self) -> bool:
        """Whether its run goes on."""
        return self._run is not None and not self._run.done()

    def begin(self, run: Coroutine[Any, Any, RetentionReport]) -> None:
        """Begin a run; it comes to its first statement."""
        self._gate = Gate()
        self._run = asyncio.create_task(run)

    async def step(self, statements: int) -> None:
        """Let the run execute so many statements, fewer if it is held up."""
        if self._run is not None:
            for _ in range(statements):
                if not await self._gate.let_one_through(self._run):
                    return

    async def cancel(self, times: int) -> None:
        """Cancel the run; twice cuts it off in the middle of a batch."""
        if self._run is not None:
            for _ in range(times):
                self._run.cancel()
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    async def end(self) -> BaseException | None:
        """Let the run come to its end, and return how it failed."""
        if self._run is None:
            return None
        self._gate.open()
        await asyncio.wait({self._run})
        return None if self._run.cancelled() else self._run.exception()

    async def close(self) -> None:
        """End the run, close the connections."""
        if self._run is not None:
            self._run.cancel()
            self._gate.open()
            with suppress(Exception, asyncio.CancelledError):
                await self._run
        await self._pool.dispose()

    async def terminate_connections(self, admin: AsyncEngine) -> None:
        """Let the server end this worker's connections, whatever they are doing."""
        async with admin.begin() as connection:
            await connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity "
                    "WHERE application_name = :name AND datname = current_database()"
                ),
                {"name": self.name},
            )

    def _wait(self, *_: object) -> None:
        await_only(self._gate.pass_through())
