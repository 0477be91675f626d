"""Traffic on a table: point reads and updates of rows that are kept, on a schedule that waits for no answer.

    DATABASE_URL=postgresql://… python -m benchmarks.retention.foreground todos FILE

It prints `ready` when it begins, ends when its standard input does, and then writes pairs of doubles to the file: when
a statement was due, on the monotonic clock, and the seconds from then to its answer, waiting for a connection included.
"""

import asyncio
import os
import random
import sys
import time
from array import array
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Final

from benchmarks.retention.connection import Connection, connect
from benchmarks.retention.results import Table

RATE: Final = 500
"""Statements in a second."""
CONNECTIONS: Final = 8

_ROWS: Final = 100_000
# A sample of the rows that no clean-up deletes.
_IDS: Final = {
    Table.SESSIONS: "SELECT id FROM refresh_sessions WHERE expires_at > now() ORDER BY hashtext(id::text) LIMIT $1",
    Table.TODOS: "SELECT id FROM todos WHERE NOT is_completed ORDER BY hashint8(id) LIMIT $1",
}
_READ: Final = {table: f"SELECT * FROM {table} WHERE id = $1" for table in Table}
_UPDATE: Final = {
    Table.SESSIONS: "UPDATE refresh_sessions SET last_used_at = clock_timestamp() WHERE id = $1",
    Table.TODOS: "UPDATE todos SET title = 'Renamed at ' || clock_timestamp() WHERE id = $1",
}


@dataclass(frozen=True, kw_only=True)
class _Foreground:
    table: Table
    ids: list[object]
    due: "asyncio.Queue[float]" = field(default_factory=asyncio.Queue)
    samples: "array[float]" = field(default_factory=lambda: array("d"))

    async def serve(self, connection: Connection) -> None:
        """Answer what is due, one statement after the other."""
        read = await connection.prepare(_READ[self.table])
        update = await connection.prepare(_UPDATE[self.table])
        choice = random.Random(0)  # noqa: S311  # nothing is secret here
        while True:
            due = await self.due.get()
            statement = choice.choice((read, update))
            await statement.fetch(choice.choice(self.ids))
            self.samples.extend((due, time.monotonic() - due))
            self.due.task_done()

    def tick(self, loop: asyncio.AbstractEventLoop, end: Event) -> None:
        """Put what is due into the queue, to the microsecond; the event loop's own timers round up to milliseconds."""
        due = time.monotonic()
        while not end.is_set():
            due += 1 / RATE
            time.sleep(max(0.0, due - time.monotonic()))
            loop.call_soon_threadsafe(self.due.put_nowait, due)


async def _run(table: Table) -> "array[float]":
    async with AsyncExitStack() as stack:
        url = os.environ["DATABASE_URL"]
        connections = [await stack.enter_async_context(connect(url)) for _ in range(CONNECTIONS)]
        ids = [row["id"] for row in await connections[0].fetch(_IDS[table], _ROWS)]
        foreground = _Foreground(table=table, ids=ids)
        async with asyncio.TaskGroup() as group:
            servers = [group.create_task(foreground.serve(connection)) for connection in connections]
            end = Event()
            ticker = Thread(target=foreground.tick, args=(asyncio.get_running_loop(), end), daemon=True)
            ticker.start()
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.read)
            end.set()
            await asyncio.to_thread(ticker.join)
            await foreground.due.join()
            for server in servers:
                server.cancel()
    return foreground.samples


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(asyncio.run(_run(Table(sys.argv[1]))).tobytes())
