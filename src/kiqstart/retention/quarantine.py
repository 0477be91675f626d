"""Rows that could not be deleted: runs leave them alone for a while, instead of failing on them each time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Table, delete, exists, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.models import UndeletableRow
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.sifting import Refusal, key_text

_ROWS: Final = cast("Table[Any]", UndeletableRow.__table__)


@dataclass(frozen=True, kw_only=True)
class Quarantine:
    """A policy's rows that could not be deleted in the last `seconds`."""

    policy: RetentionPolicy
    seconds: float

    async def forget(self, connection: AsyncConnection) -> None:
        """Let the rows be tried again whose time is over."""
        await connection.execute(delete(_ROWS).where(self._is_ours(), ~self._is_recent()))

    async def count(self, connection: AsyncConnection) -> int:
        """Return how many rows are left alone."""
        rows = select(func.count()).select_from(_ROWS).where(self._is_ours(), self._is_recent())
        return (await connection.execute(rows)).scalar_one()

    async def add(self, connection: AsyncConnection, refused: Sequence[Refusal]) -> None:
        """Leave these rows alone from now on."""
        if not refused or not self.seconds:
            return
        rows = [{"policy": self.policy.name, "key": one.key_text, "error": one.error} for one in refused]
        added = insert(_ROWS).values(rows)
        renewed = {"error": added.excluded.error, "tried_at": func.now()}
        await connection.execute(
            added.on_conflict_do_update(index_elements=[_ROWS.c.policy, _ROWS.c.key], set_=renewed)
        )

    def leaves(self) -> ColumnElement[bool]:
        """Return the condition that a row is left alone."""
        its_key = _ROWS.c.key == key_text(self.policy)
        return exists().where(self._is_ours(), self._is_recent(), its_key).correlate(self.policy.table)

    def _is_ours(self) -> ColumnElement[bool]:
        ours: ColumnElement[bool] = _ROWS.c.policy == self.policy.name
        return ours

    def _is_recent(self) -> ColumnElement[bool]:
        recent: ColumnElement[bool] = _ROWS.c.tried_at > func.now() - literal(timedelta(seconds=self.seconds))
        return recent
