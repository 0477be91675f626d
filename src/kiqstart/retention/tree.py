"""Rows that refer to rows of their own table: those that nothing refers to go first.

A batch ends somewhere, and what refers to one of its rows may lie past its end. So a batch of such a table deletes only
rows that no row refers to which stays: it finds those, then those of the batch that they refer to, and so on. What it
holds back is come back to from the other end, by which time what referred to it is gone.

A row that is referred to by one that the policy does not name stays for good: the database would refuse to delete it,
or (ON DELETE CASCADE) delete the other one along with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Label,
    ScalarSelect,
    Select,
    and_,
    column,
    exists,
    func,
    select,
    tuple_,
    union,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.action import confirm, counted_action
from kiqstart.retention.heap import ctid, tableoid
from kiqstart.retention.policy import RetentionPolicy

_SETS_NULL: Final = frozenset({"n", "d"})


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


async def prune(
    connection: AsyncConnection,
    policy: RetentionPolicy,
    references: Sequence[SelfReference],
    where: ColumnElement[bool],
    *,
    limit: int | None = None,
    passes_over: bool = False,
) -> tuple[int, int]:
    """Delete the policy's rows of a stretch, at most so many, but for those that a row refers to which stays.

    Returns:
        How many went, and how many were held back.

    Raises:
        PolicyError: they were not archived.
    """
    batch = Batch(policy, references, where, limit=limit, passes_over=passes_over)
    statement = counted_action(policy, where, batch.is_free)
    rows, done, held = (await connection.execute(statement.add_columns(batch.held_rows))).one()
    return confirm(policy, rows, done), held


class Batch:
    """Rows of which some may be held back. All of a statement sees the table as it was before the statement.

    With a limit, all are held back that any other row refers to, so that whichever are taken of the rest can go.
    """

    def __init__(
        self,
        policy: RetentionPolicy,
        references: Sequence[SelfReference],
        where: ColumnElement[bool],
        *,
        limit: int | None = None,
        passes_over: bool = False,
    ) -> None:
        self._policy, self._references, self._limit = policy, references, limit
        ends: list[Label[Any]] = [
            column(name).label(f"kq_{side}_{number}_{place}")
            for number, reference in enumerate(references)
            for names, side in ((reference.columns, "from"), (reference.referred, "to"))
            for place, name in enumerate(names)
        ]
        rows = (
            select(tableoid.label("kq_table"), ctid.label("kq_place"), *ends)
            .select_from(policy.table)
            .where(where, policy.row_filter)
            .with_for_update(skip_locked=passes_over, of=policy.table)
            .correlate(None)
        )
        self._batch: CTE = rows.cte("kq_batch")
        self._stays: CTE = self._held()

    @property
    def is_free(self) -> ColumnElement[bool]:
        """True for the batch's rows that nothing holds back."""
        free = select(self._batch.c.kq_table, self._batch.c.kq_place).limit(self._limit)
        return tuple_(tableoid, ctid).in_(free.where(~exists().where(_same_row(self._stays, self._batch))))

    @property
    def held_rows(self) -> ScalarSelect[int]:
        """The number of rows that are held back."""
        return select(func.count()).select_from(self._stays).scalar_subquery()

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

    def _from_outside(self, number: int, reference: SelfReference) -> Select[Any, Any]:
        """Return the batch's rows that a row refers to which is not in the batch."""
        target, inside = (self._batch.alias(f"kq_{name}_{number}") for name in ("target", "member"))
        ends: list[Label[Any]] = [column(name).label(f"kq_{at}") for at, name in enumerate(reference.columns)]
        place = (tableoid.label("kq_table"), ctid.label("kq_place"))
        rows = select(*place, *ends).select_from(self._policy.table).correlate(None)
        other = (rows if reference.holds_all else rows.where(self._policy.row_filter)).subquery(f"kq_other_{number}")
        refers = (other.c[f"kq_{at}"] == target.c[f"kq_to_{number}_{at}"] for at in range(len(reference.columns)))
        held = select(target.c.kq_table, target.c.kq_place)
        joined = other.join(target, and_(*refers))
        if self._limit is not None:
            return held.select_from(joined).where(~_same_row(other, target))
        return held.select_from(joined.outerjoin(inside, _same_row(inside, other))).where(inside.c.kq_place.is_(None))

    def _inside(self, number: int, reference: SelfReference) -> Select[Any, Any, Any, Any]:
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
