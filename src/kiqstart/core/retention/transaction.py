"""Transactions: what each may take, on the server and here, and what must not be cut off in the middle of one."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar, cast

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker

T = TypeVar("T")

# Limits of this transaction alone, whatever the role or the database has for others. Each batch is planned for its own
# bounds, as a generic plan is made for none, and never compiled, which would cost more than it saves. A batch does not
# wait for the disk: the state is in the same transaction, so what a crash takes back is done again; a piece's end waits
# for all that was written before it. With `row_security` off, rows that are hidden from the role are an error instead
# of being kept without a word.
_CONFIGURE: Final = """
SELECT set_config('statement_timeout', :statement_timeout, true), set_config('lock_timeout', :lock_timeout, true),
    set_config('plan_cache_mode', 'force_custom_plan', true), set_config('jit', 'off', true),
    set_config('DateStyle', 'ISO', true), set_config('synchronous_commit', 'off', true),
    set_config('idle_in_transaction_session_timeout', :idle_timeout, true), set_config('row_security', 'off', true),
    set_config('enable_seqscan', :other, true), set_config('enable_bitmapscan', :other, true),
    set_config('enable_sort', :other, true)
"""
_CONFIGURE_17: Final = text(f"{_CONFIGURE}, set_config('transaction_timeout', '0', true)")
_CONFIGURE_BEFORE: Final = text(_CONFIGURE)
_HAS_TRANSACTION_TIMEOUT: Final[tuple[int | str, ...]] = (17,)

# After so long without an answer to what the server was to end by itself, the network is gone, or the server hangs.
_SECONDS_TO_ANSWER: Final = 10.0
# What a cancellation waits for: a batch that is about to be done; then the server, to be told; in all no more than so.
_SECONDS_TO_FINISH: Final = 0.6
_SECONDS_TO_CANCEL: Final = 0.2
_SECONDS_TO_END: Final = 0.95


class _DriverConnection(Protocol):
    def terminate(self) -> None:
        """Drop the connection without a word to the server."""
        ...


_open_connections: ContextVar[set[_DriverConnection] | None] = ContextVar("open_connections", default=None)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a transaction may take, in seconds: each of its statements, each wait for a lock, each rest between them.

    The last ends what a frozen process has begun. With `by_index`, the planner goes along an index where there
    is one, whatever statistics, old ones or none, say of how few rows a scan and a sort would have to do with.
    """

    statement: float = 30.0
    lock: float = 10.0
    idle: float = 60.0
    by_index: bool = False

    @property
    def answer(self) -> float:
        """Seconds after which the connection is given up: the server should have ended the statements before."""
        return 3 * self.statement + _SECONDS_TO_ANSWER


@asynccontextmanager
async def transaction(
    sessions: async_sessionmaker[AsyncSession], limits: Limits | None = None
) -> AsyncGenerator[AsyncConnection]:
    """A transaction of its own, READ COMMITTED whatever the default, on a connection that is dropped if it is silent.

    Raises:
        OSError: there is no connection.
    """
    limits, loop = limits or Limits(), asyncio.get_running_loop()
    opened, silence = _open_connections.get(), None
    driver: _DriverConnection | None = None
    try:
        async with sessions.begin() as session:
            async with asyncio.timeout(_SECONDS_TO_ANSWER):
                connection = await session.connection(execution_options={"isolation_level": "READ COMMITTED"})
            driver = cast("_DriverConnection", (await connection.get_raw_connection()).driver_connection)
            silence = loop.call_later(limits.answer, driver.terminate)
            if opened is not None:
                opened.add(driver)
            await _configure(connection, limits)
            yield connection
    finally:
        if silence is not None:
            silence.cancel()
        if opened is not None and driver is not None:
            opened.discard(driver)


async def limit_statements(connection: AsyncConnection, seconds: float) -> None:
    """Set the time that each of the transaction's next statements may take."""
    await connection.execute(
        text("SELECT set_config('statement_timeout', :timeout, true)"), {"timeout": _milliseconds(seconds)}
    )


async def _configure(connection: AsyncConnection, limits: Limits) -> None:
    version = connection.dialect.server_version_info or ()
    parameters = {
        "statement_timeout": _milliseconds(limits.statement),
        "lock_timeout": _milliseconds(limits.lock),
        "idle_timeout": _milliseconds(limits.idle),
        "other": "off" if limits.by_index else "on",
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
