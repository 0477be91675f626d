"""Makes the generated events happen."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from tests.kiqstart.integration.retention.faults.cases import (
    ACTORS,
    Begin,
    Break,
    Case,
    Event,
    Silence,
    Step,
    Write,
    key_of,
)
from tests.kiqstart.integration.retention.faults.contents import Contents
from tests.kiqstart.integration.retention.faults.engines import quick_settings, retention_engine
from tests.kiqstart.integration.retention.faults.stepping import Actor
from tests.kiqstart.integration.retention.faults.tables import NOW, TestedBase

from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.faults import Fault, fault_of
from kiqstart.retention.models import RetentionRun
from kiqstart.retention.run_options import RunLimits


@dataclass(kw_only=True)
class World:
    """The actors and the table. `row_limits` has those of the runs that were begun."""

    case: Case
    admin: AsyncEngine
    actors: list[Actor]
    contents: Contents
    row_limits: dict[str, int | None] = field(default_factory=dict[str, int | None])
    _inserted: int = 0

    async def begin(self) -> None:
        """Empty the tables and put in what the case has at first."""
        tables = ", ".join((*TestedBase.metadata.tables, RetentionRun.__tablename__))
        async with self.admin.begin() as connection:
            await connection.execute(text(f"TRUNCATE {tables}"))
        self._inserted = len(self.case.expiries)
        keys = [key_of(self.case.model, number) for number in range(self._inserted)]
        await self.contents.insert(keys, self.case.expiries)
        for number in self.case.pinned:
            await self.contents.pin(keys[number])
        async with self.admin.begin() as connection:
            await connection.execute(text(f"ANALYZE {self.case.model.__tablename__}"))

    async def happen(self, one: Event) -> None:
        """Let an event happen; what makes no sense just now does nothing."""
        match one:
            case Begin() if not self.actors[one.actor].is_busy:
                self._begin(self.actors[one.actor], one)
            case Step():
                await self.actors[one.actor].step(one.statements)
            case Break():
                await self._break(self.actors[one.actor], one.how)
            case Silence():
                await self._let_time_pass()
            case Write() if self.contents.rows:
                await self._write(one)
            case _:
                pass

    async def come_to_rest(self) -> list[BaseException]:
        """Let go of all locks and let all runs come to their ends; return how some failed that must not.

        One that was asked to stop does not wait for a connection that it has lost.
        """
        await self.contents.unlock_all()
        ends = await asyncio.gather(*(actor.end() for actor in self.actors))
        # Who lost the connection while letting go of a shard has left it to whoever waits.
        await self._let_time_pass()
        return [
            end
            for actor, end in zip(self.actors, ends, strict=True)
            if end is not None and not (actor.stop.is_set() and _is_loss(end))
        ]

    def retention(self, sessions: async_sessionmaker[AsyncSession]) -> RetentionEngine:
        """Make an engine with the case's settings."""
        return retention_engine(
            sessions, quick_settings(batch_rows=self.case.batch_rows, lock_timeout=0.01, takeover_after=600.0)
        )

    def _begin(self, actor: Actor, one: Begin) -> None:
        run_id = f"run {one.run}"
        self.row_limits[run_id] = self.case.row_limits[one.run]
        actor.stop = asyncio.Event()
        actor.begin(
            self.retention(actor.sessions).run(
                self.case.policy,
                run_id=run_id,
                shards=one.shards,
                limits=RunLimits(rows=self.case.row_limits[one.run]),
                stop=actor.stop,
            )
        )

    async def _break(self, actor: Actor, how: str) -> None:
        if how == "stop":
            actor.stop.set()
        elif how == "disconnect":
            await actor.terminate_connections(self.admin)
        else:
            await actor.cancel(2 if how == "cut off" else 1)

    async def _let_time_pass(self) -> None:
        with suppress(DBAPIError):
            async with self.admin.begin() as connection:
                await connection.execute(text("SET LOCAL lock_timeout = '10ms'"))
                await connection.execute(
                    text("UPDATE retention_runs SET heartbeat_at = heartbeat_at - interval '1 hour'")
                )

    async def _write(self, one: Write) -> None:
        keys = list(self.contents.rows)
        key = keys[one.row % len(keys)]
        match one.what:
            case "insert":
                self._inserted += 1
                await self.contents.insert([key_of(self.case.model, self._inserted)], [one.row % 3 * 60])
            case "revive":
                await self.contents.update(key, expires_at=NOW + one.row)
            case "expire":
                await self.contents.update(key, expires_at=one.row)
            case "touch":
                await self.contents.update(key, note=f"touched {one.row}")
            case "delete":
                await self.contents.delete(key)
            case "pin":
                await self.contents.pin(key)
            case _:
                await self.contents.lock(key)


def _is_loss(error: BaseException) -> bool:
    return isinstance(error, DBAPIError | OSError) and fault_of(error) is Fault.LOST


@asynccontextmanager
async def world(url: URL, case: Case) -> AsyncGenerator[World]:
    """Make the world of a case, on a database that has the tables."""
    admin = create_async_engine(url)
    actors = [Actor(url, f"actor {number}") for number in range(ACTORS)]
    contents = Contents(pool=admin, model=case.model, references=case.references)
    made = World(case=case, admin=admin, actors=actors, contents=contents)
    try:
        await made.begin()
        yield made
    finally:
        await contents.unlock_all()
        await asyncio.gather(*(actor.close() for actor in actors))
        await admin.dispose()
