"""The ways to delete that are measured."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.retention.connection import Connection, affected, connect
from benchmarks.retention.dataset import DELETABLE
from benchmarks.retention.results import Contestant, EngineReport, Table
from benchmarks.retention.tutorial import delete_with_django
from benchmarks.retention.worker import FULL_PACE, Workers

_SKIP_LOCKED: Final = {
    table: f"DELETE FROM {table} WHERE id IN "
    f"(SELECT id FROM {table} WHERE {where} LIMIT 5000 FOR UPDATE OF {table} SKIP LOCKED)"
    for table, where in DELETABLE.items()
}
_CTID: Final = {
    table: f"DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {where} LIMIT 5000))"
    for table, where in DELETABLE.items()
}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How long a deletion took, whether it came to its end in time, and what its program says about itself."""

    seconds: float
    finished: bool = True
    versions: str | None = None
    report: EngineReport | None = None


@dataclass(frozen=True, kw_only=True)
class Contestants:
    """Runs a way to delete to its end, or until `most_seconds` have passed."""

    workers: Workers
    most_seconds: float

    @staticmethod
    def of(table: Table) -> tuple[Contestant, ...]:
        """The ways for a table. Per user only todos are deleted."""
        return tuple(one for one in Contestant if table is Table.TODOS or one is not Contestant.PER_USER)

    async def run(self, contestant: Contestant, url: str, table: Table) -> Measured:
        """Delete the rows of a table in a database, in that way."""
        match contestant:
            case Contestant.KIQSTART | Contestant.GENTLE:
                return await self._kiqstart(url, table, {} if contestant is Contestant.GENTLE else FULL_PACE)
            case Contestant.DJANGO:
                peer = await delete_with_django(url, table, most_seconds=self.most_seconds)
                return Measured(seconds=peer.seconds, finished=peer.finished, versions=peer.versions)
            case Contestant.UNBOUNDED:
                return await self._statements(url, lambda connection, _: delete_all(connection, table))
            case Contestant.SKIP_LOCKED:
                return await self._statements(
                    url, lambda connection, over: _until_none(connection, _SKIP_LOCKED[table], over)
                )
            case Contestant.CTID:
                return await self._statements(url, lambda connection, over: _until_none(connection, _CTID[table], over))
            case Contestant.PER_USER:
                return await self._statements(url, _per_user)

    async def _kiqstart(self, url: str, table: Table, settings: Mapping[str, str]) -> Measured:
        async with self.workers.start(url, settings) as worker:
            deletion = await worker.delete(table)
        return Measured(seconds=deletion.ended - deletion.started, report=deletion.report)

    async def _statements(self, url: str, delete: Callable[[Connection, float], Awaitable[bool]]) -> Measured:
        async with connect(url) as connection:
            started = time.monotonic()
            finished = await delete(connection, started + self.most_seconds)
            return Measured(seconds=time.monotonic() - started, finished=finished)


async def delete_all(connection: Connection, table: Table) -> bool:
    """Delete all in one statement."""
    await connection.execute(f"DELETE FROM {table} WHERE {DELETABLE[table]}")
    return True


async def _until_none(connection: Connection, statement: str, over: float) -> bool:
    while affected(await connection.execute(statement)):
        if time.monotonic() > over:
            return False
    return True


async def _per_user(connection: Connection, over: float) -> bool:
    for row in await connection.fetch("SELECT id FROM users WHERE is_active ORDER BY id"):
        await connection.execute("DELETE FROM todos WHERE user_id = $1 AND is_completed", row["id"])
        if time.monotonic() > over:
            return False
    return True
