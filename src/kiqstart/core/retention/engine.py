"""Runs a policy in batches, each its own short transaction."""

from dataclasses import dataclass, field
from time import monotonic

from sqlalchemy import ARRAY, ColumnElement, Text, cast, delete, func, literal, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from kiqstart.core.retention.pace import Pace
from kiqstart.core.retention.policy import RetentionPolicy
from kiqstart.core.retention.progress import ProgressCallback, ProgressMeter
from kiqstart.core.retention.report import FailureKey, RetentionReport, RetentionTally
from kiqstart.core.retention.walks import Span, TupleId, Walker, ctid

# SQLSTATE classes that no single row is to blame for: connection, transaction state, login, missing database, missing
# object or right, resources, operator intervention, system, configuration, internal. Smaller batches do not help there.
_NOT_OF_A_ROW = frozenset({"08", "25", "28", "3D", "42", "53", "57", "58", "F0", "XX"})


@dataclass(frozen=True, kw_only=True)
class RetentionEngine:
    """Deletes what a policy names, a stretch of the table at a time."""

    _sessions: async_sessionmaker[AsyncSession]

    async def run(self, policy: RetentionPolicy, *, progress: ProgressCallback | None = None) -> RetentionReport:
        """Delete the policy's rows that are there when the run starts, and say what was done.

        A row that cannot be deleted is reported and costs the others nothing. When the run is cancelled or fails, the
        batches that were committed stay; the next run does the rest.

        Raises:
            sqlalchemy.exc.DBAPIError: the database failed otherwise than by a row, say by a lost connection.
            OSError: a new connection was refused.
        """
        run = _Run(sessions=self._sessions, policy=policy, meter=ProgressMeter(progress))
        await run.to_end()
        return run.tally.report(policy.name, run.meter.seconds())


@dataclass(kw_only=True)
class _Run:
    sessions: async_sessionmaker[AsyncSession]
    policy: RetentionPolicy
    meter: ProgressMeter
    tally: RetentionTally = field(default_factory=RetentionTally)
    fraction: float = 0.0

    async def to_end(self) -> None:
        async with self.sessions.begin() as session:
            walker = await self.policy.walk.start(session, self.policy.model, self.policy.predicate)
        pace = Pace(self.policy.walk.limits)
        while await self._batch(walker, pace):
            await self.meter.report(self.tally.deleted, self.fraction)
        await self.meter.report(self.tally.deleted, 1.0, end=True)

    async def _batch(self, walker: Walker, pace: Pace) -> bool:
        span: Span | None = None
        started = monotonic()
        try:
            async with self.sessions.begin() as session:
                span = await walker.next_span(session, pace.size)
                if span is None:
                    return False
                deleted = await self._delete(session, span.where)
        except DBAPIError as error:
            if span is None or not _concerns_rows(error):
                raise
            await self._isolate(span)
        else:
            seconds = monotonic() - started
            self.tally.add_batch(deleted, seconds)
            pace.record(seconds)
        self.fraction = span.fraction
        return True

    async def _isolate(self, span: Span) -> None:
        """Delete what can be deleted of a span that failed, halving down to the rows that cannot."""
        async with self.sessions.begin() as session:
            rows = select(cast(ctid, Text)).select_from(self.policy.model).where(span.where, self.policy.predicate)
            tids = list(await session.scalars(rows))
        parts = [tids]
        while parts:
            part = parts.pop()
            started = monotonic()
            try:
                async with self.sessions.begin() as session:
                    deleted = await self._delete(session, _is_one_of(part))
            except DBAPIError as error:
                if not _concerns_rows(error):
                    raise
                if len(part) == 1:
                    await self._add_failure(part, error)
                else:
                    parts += (part[len(part) // 2 :], part[: len(part) // 2])
            else:
                self.tally.add_batch(deleted, monotonic() - started)
            await self.meter.report(self.tally.deleted, self.fraction)

    async def _delete(self, session: AsyncSession, where: ColumnElement[bool]) -> int:
        # On the connection, since only its result tells the number of rows.
        connection = await session.connection()
        return (await connection.execute(delete(self.policy.model).where(where, self.policy.predicate))).rowcount

    async def _add_failure(self, tid: list[str], error: DBAPIError) -> None:
        key = select(*self.policy.error_key).select_from(self.policy.model).where(_is_one_of(tid))
        async with self.sessions.begin() as session:
            row = (await session.execute(key)).one_or_none()
        # None: somebody else has deleted or changed it since.
        if row is not None:
            values: FailureKey = {
                column.key: value if isinstance(value, int) else str(value)
                for column, value in zip(self.policy.error_key, row, strict=True)
            }
            self.tally.add_failure(values, str(error.driver_exception).partition("\n")[0])


def _is_one_of(tids: list[str]) -> ColumnElement[bool]:
    return ctid == func.any(cast(literal(tids, ARRAY(Text)), ARRAY(TupleId())))


def _concerns_rows(error: DBAPIError) -> bool:
    sqlstate: str | None = getattr(error.driver_exception, "sqlstate", None)
    return sqlstate is not None and not error.connection_invalidated and sqlstate[:2] not in _NOT_OF_A_ROW
