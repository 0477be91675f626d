"""The step after a batch that the database refused: fewer rows, each of which is tried."""

from dataclasses import dataclass, field
from time import monotonic

from sqlalchemy import ColumnElement
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.deletion import count_rows, delete_nothing
from kiqstart.retention.errors import PredicateTooSlowError, TableChangedError
from kiqstart.retention.faults import Fault, fault_of, first_line
from kiqstart.retention.owned_shard import OwnedShard
from kiqstart.retention.scan import Cut, Interval
from kiqstart.retention.sifting import Refusal, Sifted, lock_rows, sift
from kiqstart.retention.tree import Batch


@dataclass(kw_only=True)
class Sifter:
    """Deletes those rows of a small batch that can go, and writes down which cannot, and why."""

    shard: OwnedShard
    # Rows that refer to each other are met again in each round, and counted once.
    _known: set[str] = field(default_factory=set[str])

    async def try_no_row(self) -> None:
        """Raise what PostgreSQL says though no row is to go: a trigger of the statement's, or its own rules."""
        async with self.shard.begin(None) as connection:
            await delete_nothing(connection, self.shard.policy)

    async def step(self, interval: Interval, limit: int | None) -> bool:
        """Do it to the first rows of an interval, at most so many; False if the whole table is locked."""
        started, shard = monotonic(), self.shard
        try:
            async with shard.begin(interval) as connection:
                cut = await shard.advance(connection, interval, shard.pace.sifted)
                sifted, held = await self._sift(connection, shard.where(cut.batch), limit)
                await self._save(connection, cut, sifted, monotonic() - started, held)
        except TableChangedError:
            await shard.look_anew()
        except DBAPIError as error:
            return await self._learn(interval, error)
        else:
            # More at once would most likely fail again.
            shard.pace.rows = min(shard.pace.rows, shard.pace.sifted)
            shard.pace.record_sifting(monotonic() - started)
        return True

    async def _sift(
        self, connection: AsyncConnection, where: ColumnElement[bool], limit: int | None
    ) -> tuple[Sifted, int]:
        policy, references = self.shard.policy, self.shard.relation.own_references
        if not references:
            return await sift(connection, policy, where, limit=limit), 0
        free = Batch(policy, references, where, passes_over=True).is_free
        sifted = await sift(connection, policy, where & free, limit=limit)
        left = await count_rows(connection, policy, where)
        return sifted, max(0, left - sifted.locked - len(sifted.refused))

    async def _learn(self, interval: Interval, error: DBAPIError) -> bool:
        fault, pace = fault_of(error), self.shard.pace
        if fault is Fault.LOCKED:
            return False
        if fault not in {Fault.SLOW, Fault.OF_A_ROW}:
            raise error
        if fault is Fault.SLOW and self.shard.is_looking:
            self.shard.look_less(interval)
        elif not (pace.sift_less() or (fault is Fault.SLOW and pace.lengthen())):
            await self._give_up_row(interval, first_line(error))
        return True

    async def _give_up_row(self, interval: Interval, error: str) -> None:
        shard = self.shard
        try:
            async with shard.begin(interval) as connection:
                cut = await shard.advance(connection, interval, 1)
                rows = await lock_rows(connection, shard.policy, shard.where(cut.batch))
                refused = tuple(Refusal(row.group, row.key, row.key_text, error) for row in rows)
                await self._save(connection, cut, Sifted(0, 0, refused), 0)
        except TableChangedError:
            await shard.look_anew()
        except DBAPIError as slow:
            if fault_of(slow) is Fault.SLOW:
                raise PredicateTooSlowError(shard.policy.name, first_line(slow)) from slow
            raise

    async def _save(self, connection: AsyncConnection, cut: Cut, sifted: Sifted, seconds: float, held: int = 0) -> None:
        shard, refused = self.shard, list[Refusal]()
        state = shard.state.with_batch(sifted.deleted, seconds)
        if sifted.is_complete:
            state = state.past(cut.rest).with_locked(cut.batch, sifted.locked).with_held(cut.batch, held)
            if state.locked == shard.state.locked or shard.is_last_round:
                # Else they are met again when the run comes back for the locked ones.
                refused = [one for one in sifted.refused if one.key_text not in self._known]
                state = state.with_failures(tuple(one.failure for one in refused))
                await shard.quarantine.add(connection, refused)
        await shard.save(connection, state, cut.batch)
        shard.state = state
        if refused and shard.relation.own_references:
            self._known.update(one.key_text for one in refused)
            shard.left_alone = shard.quarantine.leaves()
