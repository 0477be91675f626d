"""Rows that refer to rows of their own table: those that nothing refers to go first.

A batch ends somewhere, and what refers to one of its rows may lie past its end. So a batch of such a table deletes only
rows that no row refers to which stays: it finds those, then those of the batch that they refer to, and so on. What it
holds back is come back to from the other end, by which time what referred to it is gone.

A row that is referred to by one that the policy does not name stays for good: the database would refuse to delete it, or
(ON DELETE CASCADE) delete the other one along with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Select,
    and_,
    column,
    delete,
    exists,
    func,
    literal_column,
    select,
    tuple_,
    union,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.core.retention.page_walk import ctid
from kiqstart.core.retention.policy import RetentionPolicy

_SETS_NULL: Final = frozenset({"n", "d"})
_TABLEOID: Final[ColumnElement[int]] = column("tableoid")


@dataclass(frozen=True, slots=True)
class SelfReference:
    """A foreign key on the table itself: its columns, those that they refer to, and `pg_constraint.confdeltype`."""

    columns: tuple[str, ...]
    referred: tuple[str, ...]
    on_delete: str

    @property
    def holds_all(self) -> bool:
        """Whether a row stays also for one that the policy does not name, instead of being forgotten by it."""
        return self.on_delete not in _SETS_NULL


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a batch of such a table came to: rows that went, rows held back by others, rows that a trigger kept."""

    deleted: int
    held: int
    kept: int


async def prune(
    connection: AsyncConnection,
    policy: RetentionPolicy,
    references: Sequence[SelfReference],
    where: ColumnElement[bool],
    *,
    limit: int | None,
    passes_over: bool,
) -> Pruned:
    """Delete the policy's rows of a stretch, at most so many, but for those that a row refers to which stays."""
    of_batch = _Batch(policy, references, where, limit=limit, passes_over=passes_over)
    row = (await connection.execute(of_batch.statement())).one()
    return Pruned(deleted=row.gone, held=row.held, kept=row.batch - row.held - row.gone)


class _Batch:
    """Builds the statement. All of it sees the table as it was, so what it deletes is no news to its other parts."""

    def __init__(
        self,
        policy: RetentionPolicy,
        references: Sequence[SelfReference],
        where: ColumnElement[bool],
        *,
        limit: int | None,
        passes_over: bool,
    ) -> None:
        self._policy, self._references, self._where = policy, references, where
        ends = [
            named
            for number, reference in enumerate(references)
            for names, side in ((reference.columns, "from"), (reference.referred, "to"))
            for named in (column(name).label(f"kq_{side}_{number}_{place}") for place, name in enumerate(names))
        ]
        rows = (
            select(_TABLEOID.label("kq_table"), ctid.label("kq_place"), *ends)
            .select_from(policy.table)
            .where(where, policy.rows)
            .limit(limit)
            .with_for_update(skip_locked=passes_over, of=policy.table)
            .correlate(None)
        )
        self._batch: CTE = rows.cte("kq_batch")

    def statement(self) -> Select[Any]:
        """Return the number of rows in the batch, of those that are held back, and of those that went."""
        batch, held = self._batch, self._held()
        is_held = exists().where(_same_row(held, batch))
        free = select(batch.c.kq_table, batch.c.kq_place).where(~is_held)
        places = tuple_(_TABLEOID, ctid)
        gone = (
            delete(self._policy.table)
            .where(self._where, self._policy.rows, places.in_(free))
            .returning(literal_column("1").label("one"))
            .cte("kq_gone")
        )
        counts = ((batch, "batch"), (held, "held"), (gone, "gone"))
        return select(*(select(func.count()).select_from(of).scalar_subquery().label(name) for of, name in counts))

    def _held(self) -> CTE:
        """Return the rows that stay: those that a row outside refers to, what they refer to, and so on."""
        outside = union(*(self._from_outside(*one) for one in enumerate(self._references))).subquery("kq_outside")
        held = select(*outside.c).cte("kq_held", recursive=True)
        inside = union_all(*(self._inside(*one) for one in enumerate(self._references))).cte("kq_inside")
        return held.union(
            select(inside.c.kq_table, inside.c.kq_place).where(
                inside.c.kq_by_table == held.c.kq_table, inside.c.kq_by_place == held.c.kq_place
            )
        )

    def _from_outside(self, number: int, reference: SelfReference) -> Select[Any]:
        """Return the batch's rows that a row refers to which is not in the batch."""
        target, inside = (self._batch.alias(f"kq_{name}_{number}") for name in ("target", "member"))
        ends = (column(name).label(f"kq_{at}") for at, name in enumerate(reference.columns))
        place = (_TABLEOID.label("kq_table"), ctid.label("kq_place"))
        rows = select(*place, *ends).select_from(self._policy.table).correlate(None)
        other = (rows if reference.holds_all else rows.where(self._policy.rows)).subquery(f"kq_other_{number}")
        refers = (other.c[f"kq_{at}"] == target.c[f"kq_to_{number}_{at}"] for at in range(len(reference.columns)))
        joined = other.join(target, and_(*refers)).outerjoin(inside, _same_row(inside, other))
        return select(target.c.kq_table, target.c.kq_place).select_from(joined).where(inside.c.kq_place.is_(None))

    def _inside(self, number: int, reference: SelfReference) -> Select[Any]:
        """Return the batch's rows that another of its rows refers to, and that one."""
        target, by = (self._batch.alias(f"kq_{name}_{number}") for name in ("referred", "by"))
        places = range(len(reference.columns))
        refers = (by.c[f"kq_from_{number}_{at}"] == target.c[f"kq_to_{number}_{at}"] for at in places)
        return select(
            target.c.kq_table,
            target.c.kq_place,
            by.c.kq_table.label("kq_by_table"),
            by.c.kq_place.label("kq_by_place"),
        ).where(*refers)


def _same_row(one: FromClause, other: FromClause) -> ColumnElement[bool]:
    return and_(one.c.kq_table == other.c.kq_table, one.c.kq_place == other.c.kq_place)
