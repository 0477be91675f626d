"""Rows that could not be deleted: runs leave them alone for a while, instead of failing on them each time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, exists, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.core.retention.models import UndeletableRow
from kiqstart.core.retention.policy import RetentionPolicy
from kiqstart.core.retention.sifting import Refusal, key_text


@dataclass(frozen=True, kw_only=True)
class Quarantine:
    """A policy's rows that could not be deleted in the last `seconds`."""

    policy: RetentionPolicy
    seconds: float

    async def forget(self, connection: AsyncConnection) -> None:
        """Let the rows be tried again whose time is over."""
        await connection.execute(delete(UndeletableRow).where(self._is_ours(), ~self._is_recent()))

    async def count(self, connection: AsyncConnection) -> int:
        """Return how many rows are left alone."""
        rows = select(func.count()).select_from(UndeletableRow).where(self._is_ours(), self._is_recent())
        return (await connection.execute(rows)).scalar_one()

    async def add(self, connection: AsyncConnection, refused: Sequence[Refusal]) -> None:
        """Leave these rows alone from now on."""
        if not refused or not self.seconds:
            return
        rows = [{"policy": self.policy.name, "key": one.key_text, "error": one.error} for one in refused]
        added = insert(UndeletableRow).values(rows)
        renewed = {"error": added.excluded.error, "tried_at": func.now()}
        await connection.execute(
            added.on_conflict_do_update(index_elements=[UndeletableRow.policy, UndeletableRow.key], set_=renewed)
        )

    def leaves(self) -> ColumnElement[bool]:
        """Return the condition that a row is left alone."""
        its_key = UndeletableRow.key == key_text(self.policy)
        return exists().where(self._is_ours(), self._is_recent(), its_key).correlate(self.policy.table)

    def _is_ours(self) -> ColumnElement[bool]:
        return UndeletableRow.policy == self.policy.name

    def _is_recent(self) -> ColumnElement[bool]:
        return UndeletableRow.tried_at > func.now() - literal(timedelta(seconds=self.seconds))
