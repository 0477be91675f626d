"""Transactions: what each may take, on the server and here, and what must not be cut off in the middle of one."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final, Protocol, TypeVar, cast

from sqlalchemy import Boolean, event, literal_column, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker

T = TypeVar("T")

# Limits of this transaction alone, whatever the role or the database has for others. Each batch is planned for its own
# bounds, as a generic plan is made for none, and never compiled, which would cost more than it saves. A batch does not
# wait for the disk: the state is in the same transaction, so what a crash takes back is done again; the end waits,
# as the role's own commits do, for all that was written before it. With `row_security` off, rows that are hidden from
# the role are an error instead of being kept without a word. Dates and floats are written so as to be read again.
_CONFIGURE: Final = """
SELECT set_config('statement_timeout', :statement_timeout, true), set_config('lock_timeout', :lock_timeout, true),
    set_config('plan_cache_mode', 'force_custom_plan', true), set_config('jit', 'off', true),
    set_config('DateStyle', 'ISO', true), set_config('extra_float_digits', '1', true),
    set_config('synchronous_commit', CASE WHEN :waits THEN current_setting('synchronous_commit') ELSE 'off' END, true),
    set_config('idle_in_transaction_session_timeout', :idle_timeout, true), set_config('row_security', 'off', true),
    set_config('enable_seqscan', :other, true), set_config('enable_bitmapscan', :other, true),
    set_config('enable_sort', :other, true)
"""
_CONFIGURE_17: Final = text(f"{_CONFIGURE}, set_config('transaction_timeout', '0', true)")
_CONFIGURE_BEFORE: Final = text(_CONFIGURE)
# Of an index the planner first takes all places, then reads each page once: an eighth to a fourth less than row by row.
_BY_BITMAP: Final = text(
    "SELECT set_config('enable_bitmapscan', 'on', true), set_config('enable_indexscan', 'off', true)"
)
FREES_TRIGGERS: Final = literal_column(
    "(SELECT set_config('plan_cache_mode', 'auto', true) || set_config('enable_indexscan', 'on', true)) IS NOT NULL",
    Boolean,
)
"""A condition, always true, that is looked at once, when its statement is planned and begins to run.

What triggers ask for each row, those of foreign keys above all, is then not planned anew for each, at twice the cost.
"""
_HAS_TRANSACTION_TIMEOUT: Final[tuple[int | str, ...]] = (17,)

# After so long without an answer to what the server was to end by itself, the network is gone, or the server hangs.
_SECONDS_TO_ANSWER: Final = 10.0
# What a cancellation waits for: a batch that is about to be done; then the server, to be told; in all no more than so.
_SECONDS_TO_FINISH: Final = 0.6
_SECONDS_TO_CANCEL: Final = 0.2
_SECONDS_TO_END: Final = 0.95
# A connection that was not used for longer is asked by its pool whether it is alive.
_SECONDS_KEPT: Final = 1.0


class _DriverConnection(Protocol):
    def terminate(self) -> None:
        """Drop the connection without a word to the server."""


_open_connections: ContextVar[set[_DriverConnection] | None] = ContextVar("open_connections", default=None)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a transaction may take, in seconds: each of its statements, each wait for a lock, each rest between them.

    The last ends what a frozen process has begun. With `by_index`, the planner goes along an index where there
    is one, whatever statistics, old ones or none, say of how few rows a scan and a sort would have to do with. With
    `waits_for_disk`, the commit waits as the role's commits do, for itself and all before it.
    """

    statement: float = 30.0
    lock: float = 10.0
    idle: float = 60.0
    by_index: bool = False
    waits_for_disk: bool = False

    @property
    def answer(self) -> float:
        """Seconds after which the connection is given up: the server should have ended the statements before."""
        return 3 * self.statement + _SECONDS_TO_ANSWER


@dataclass(kw_only=True)
class Transactions:
    """Begins transactions, one after the other, each READ COMMITTED whatever the default.

    A transaction's connection is kept for the next one, which so need not ask first whether it is alive; after a while
    without one, or an error, the pool has it back. A connection that is silent for too long is dropped.
    """

    sessions: async_sessionmaker[AsyncSession]
    _kept: AsyncConnection | None = field(default=None, init=False)
    _kept_since: float = field(default=0.0, init=False)

    @asynccontextmanager
    async def begin(self, limits: Limits | None = None) -> AsyncGenerator[AsyncConnection]:
        """Begin one, and commit it at the end.

        Raises:
            OSError: there is no connection.
        """
        limits = limits or Limits()
        connection = await self._take()
        try:
            async with _dropped_if_silent(connection, limits.answer), connection.begin():
                await _configure(connection, limits)
                yield connection
        except BaseException:
            await _close(connection)
            raise
        # Another one may have begun meanwhile, while this one was being cut off.
        await self.give_back()
        self._kept, self._kept_since = connection, monotonic()

    async def give_back(self) -> None:
        """Let others have the connection."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await _close(kept)

    async def _take(self) -> AsyncConnection:
        if monotonic() - self._kept_since > _SECONDS_KEPT:
            await self.give_back()
        kept, self._kept = self._kept, None
        if kept is not None:
            return kept
        engine = self.sessions().bind
        if not isinstance(engine, AsyncEngine):
            raise TypeError("the sessions of the retention engine must be of one engine")
        async with asyncio.timeout(_SECONDS_TO_ANSWER):
            return await engine.execution_options(isolation_level="READ COMMITTED").connect()


@asynccontextmanager
async def transaction(
    sessions: async_sessionmaker[AsyncSession], limits: Limits | None = None
) -> AsyncGenerator[AsyncConnection]:
    """Begin a single transaction.

    Raises:
        OSError: there is no connection.
    """
    transactions = Transactions(sessions=sessions)
    async with transactions.begin(limits) as connection:
        yield connection
    await transactions.give_back()


@asynccontextmanager
async def _dropped_if_silent(connection: AsyncConnection, seconds: float) -> AsyncGenerator[None]:
    """Drop a connection when no statement has been answered for so many seconds, or when `promptly` says so."""
    opened = _open_connections.get()
    driver = cast("_DriverConnection", (await connection.get_raw_connection()).driver_connection)
    loop, answered = asyncio.get_running_loop(), monotonic()
    silence: list[asyncio.TimerHandle] = []

    def look() -> None:
        left = answered + seconds - monotonic()
        if left <= 0:
            driver.terminate()
        else:
            silence[:] = [loop.call_later(left, look)]

    def hear(*_: object) -> None:
        nonlocal answered
        answered = monotonic()

    look()
    event.listen(connection.sync_connection, "after_cursor_execute", hear)
    if opened is not None:
        opened.add(driver)
    try:
        yield
    finally:
        for timer in silence:
            timer.cancel()
        event.remove(connection.sync_connection, "after_cursor_execute", hear)
        if opened is not None:
            opened.discard(driver)


async def _close(connection: AsyncConnection) -> None:
    """Give a connection back to its pool, also when cancelled meanwhile."""
    await asyncio.shield(asyncio.ensure_future(connection.close()))


async def limit_statements(connection: AsyncConnection, seconds: float) -> None:
    """Set the time that each of the transaction's next statements may take."""
    await connection.execute(
        text("SELECT set_config('statement_timeout', :timeout, true)"), {"timeout": _milliseconds(seconds)}
    )


async def read_pages_once(connection: AsyncConnection) -> None:
    """Have the next statements of a transaction that goes by index take its rows page by page, not in its order."""
    await connection.execute(_BY_BITMAP)


async def _configure(connection: AsyncConnection, limits: Limits) -> None:
    version = connection.dialect.server_version_info or ()
    parameters = {
        "statement_timeout": _milliseconds(limits.statement),
        "lock_timeout": _milliseconds(limits.lock),
        "idle_timeout": _milliseconds(limits.idle),
        "other": "off" if limits.by_index else "on",
        "waits": limits.waits_for_disk,
    }
    await connection.execute(
        _CONFIGURE_17 if version[:1] >= _HAS_TRANSACTION_TIMEOUT else _CONFIGURE_BEFORE, parameters
    )


async def to_its_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run something short to its end although the caller is cancelled, then let the cancellation go on.

    If it is not done within half a second, or on a second cancellation, it is cut off.
    """
    task = asyncio.ensure_future(coroutine)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            await asyncio.wait({task}, timeout=_SECONDS_TO_FINISH)
        finally:
            # The driver asks the server to cancel the statement, by a connection of its own.
            task.cancel()
            task.add_done_callback(_forget)
            await asyncio.wait({task}, timeout=_SECONDS_TO_CANCEL)
        raise


async def promptly(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run something that ends within a second of a cancellation, whatever the network does.

    A server that does not answer by then is left to itself: it ends what was begun after `Limits.idle`.
    """
    connections: set[_DriverConnection] = set()
    token = _open_connections.set(connections)
    task = asyncio.ensure_future(coroutine)
    _open_connections.reset(token)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        task.add_done_callback(_forget)
        try:
            await asyncio.wait({task}, timeout=_SECONDS_TO_END)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task}, timeout=_SECONDS_TO_CANCEL)
            raise
        finally:
            for connection in tuple(connections):
                connection.terminate()
        raise


def _forget(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()


async def rest(seconds: float, stop: asyncio.Event) -> None:
    """Wait so long, or until the event."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


def _milliseconds(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))
