"""Rows that refer to rows of their own table: those that nothing refers to go first.

A batch ends somewhere, and what refers to one of its rows may lie past its end. So a batch of such a table deletes only
rows that no row refers to which stays: it finds those, then those of the batch that they refer to, and so on. What it
holds back is come back to from the other end, by which time what referred to it is gone. From then on a run also goes
from each row that has gone to those that it referred to (`climber`), so that a chain is as quick in any order.

A row that is referred to by one that the policy does not name stays for good: the database would refuse to delete it,
or (ON DELETE CASCADE) delete the other one along with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    FromClause,
    Label,
    ScalarSelect,
    Select,
    Text,
    and_,
    cast,
    column,
    except_,
    func,
    select,
    text,
    true,
    tuple_,
    union,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.selectable import LateralFromClause

from kiqstart.retention.action import confirm, counted_action
from kiqstart.retention.heap import Place, ctid, tableoid
from kiqstart.retention.policy import RetentionPolicy

_SETS_NULL: Final = frozenset({"n", "d"})
_PLACE: Final = (tableoid.label("kq_table"), ctid.label("kq_place"))
# Ways up that are gone on with at once; the others are found by their own stretches.
_MOST_ABOVE: Final = 1_000


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
    """How many rows went, how many were held back, and what some of those that went referred to."""

    deleted: int
    held: int
    above: tuple[Place, ...] = ()


async def prune(
    connection: AsyncConnection,
    policy: RetentionPolicy,
    references: Sequence[SelfReference],
    where: ColumnElement[bool],
    *,
    limit: int | None = None,
    passes_over: bool = False,
    climbs: bool = False,
    is_stretch: bool = True,
) -> Pruned:
    """Delete the policy's rows of a stretch, at most so many, but for those that a row refers to which stays.

    What is no stretch of the scan is looked for only once.

    Raises:
        PolicyError: they were not archived.
    """
    batch = Batch(policy, references, where, limit=limit, passes_over=passes_over)
    bounds = (where,) if is_stretch else ()
    statement = counted_action(policy, *bounds, batch.is_free).add_columns(batch.held_rows)
    if not climbs:
        rows, done, held = (await connection.execute(statement)).one()
        return Pruned(confirm(policy, rows, done), held)
    rows, done, held, above = (await connection.execute(statement.add_columns(batch.above))).one()
    return Pruned(confirm(policy, rows, done), held, tuple((table, place) for table, place in above))


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
        rows = rows_with_ends(policy, references).where(where, policy.row_filter)
        locked = rows.with_for_update(skip_locked=passes_over, of=policy.table).correlate(None)
        self._batch: CTE = locked.cte("kq_batch")
        held = self._held(and_(where, policy.row_filter))
        # Never a loop over all that are held for each row, however many the planner thinks they are.
        self._free: CTE = select(*self._batch.c).except_(select(*held.c)).cte("kq_free")

    @property
    def is_free(self) -> ColumnElement[bool]:
        """True for the batch's rows that nothing holds back."""
        free = select(self._free.c.kq_table, self._free.c.kq_place).limit(self._limit)
        return tuple_(tableoid, ctid).in_(free)

    @property
    def held_rows(self) -> ColumnElement[int]:
        """The number of rows that are held back."""
        every, free = (select(func.count()).select_from(rows).scalar_subquery() for rows in (self._batch, self._free))
        return every - free

    @property
    def above(self) -> ScalarSelect[Any]:
        """The places of some of the policy's rows that stay outside, and that those refer to which go."""
        referred = union(*(self._above(*one) for one in enumerate(self._references)))
        inside = select(self._batch.c.kq_table, self._batch.c.kq_place)
        some = except_(referred, inside).limit(_MOST_ABOVE).subquery("kq_some")
        pair = func.jsonb_build_array(cast(some.c.kq_table, BigInteger), cast(some.c.kq_place, Text))
        return select(func.coalesce(func.jsonb_agg(pair), text("'[]'"))).scalar_subquery()

    def _held(self, is_inside: ColumnElement[bool]) -> CTE:
        """Return the rows that stay: those that a row outside refers to, what they refer to, and so on."""
        outside = union(*(self._from_outside(*one) for one in enumerate(self._references))).subquery("kq_outside")
        held = select(*outside.c).cte("kq_held", recursive=True)
        above = rows_above(self._policy, self._references, held, is_inside)
        return held.union(select(*above.c).select_from(held.join(above, true())))

    def _from_outside(self, number: int, reference: SelfReference) -> Select[*tuple[Any, ...]]:
        """Return the batch's rows that a row refers to which is not in the batch."""
        target, inside = (self._batch.alias(f"kq_{name}_{number}") for name in ("target", "member"))
        ends: list[Label[Any]] = [column(name).label(f"kq_{at}") for at, name in enumerate(reference.columns)]
        rows = select(*_PLACE, *ends).select_from(self._policy.table).correlate(None)
        other = (rows if reference.holds_all else rows.where(self._policy.row_filter)).subquery(f"kq_other_{number}")
        refers = (other.c[f"kq_{at}"] == target.c[f"kq_to_{number}_{at}"] for at in range(len(reference.columns)))
        held, joined = select(*target.c), other.join(target, and_(*refers))
        if self._limit is not None:
            return held.select_from(joined).where(~same_row(other, target))
        return held.select_from(joined.outerjoin(inside, same_row(inside, other))).where(inside.c.kq_place.is_(None))

    def _above(self, number: int, reference: SelfReference) -> Select[int, str]:
        """Return the policy's rows that rows which go refer to."""
        ends: list[Label[Any]] = [column(name).label(f"kq_{at}") for at, name in enumerate(reference.referred)]
        rows = select(*_PLACE, *ends).select_from(self._policy.table).where(self._policy.row_filter)
        other = rows.correlate(None).subquery(f"kq_above_{number}")
        by = self._free.alias(f"kq_goes_{number}")
        refers = (by.c[f"kq_from_{number}_{at}"] == other.c[f"kq_{at}"] for at in range(len(reference.referred)))
        return select(other.c.kq_table, other.c.kq_place).select_from(by.join(other, and_(*refers)))


def rows_with_ends(policy: RetentionPolicy, references: Sequence[SelfReference]) -> Select[*tuple[Any, ...]]:
    """Select rows by their places, with what each foreign key holds (`kq_from`), and what refers to (`kq_to`)."""
    ends: list[Label[Any]] = [
        column(name).label(f"kq_{side}_{number}_{place}")
        for number, reference in enumerate(references)
        for names, side in ((reference.columns, "from"), (reference.referred, "to"))
        for place, name in enumerate(names)
    ]
    return select(*_PLACE, *ends).select_from(policy.table)


def rows_above(
    policy: RetentionPolicy, references: Sequence[SelfReference], by: CTE, condition: ColumnElement[bool]
) -> LateralFromClause:
    """Return the rows that meet a condition and that those of a recursive CTE refer to, with their ends.

    Each is looked for by the index of what is referred to: the planner, which does not know how few they are at a time,
    may not read all rows instead.
    """
    # Whether they meet it is looked at row by row: a join would be planned for as many as there may be in all.
    row = rows_with_ends(policy, references).where(condition.is_(true()))
    referred = (
        row.where(*(column(name) == by.c[f"kq_from_{number}_{at}"] for at, name in enumerate(reference.referred)))
        for number, reference in enumerate(references)
    )
    above = union_all(*(one.correlate(by) for one in referred)).subquery(f"{by.name}_referred")
    return select(above).correlate(by).offset(0).lateral(f"{by.name}_above")


def same_row(one: FromClause, other: FromClause) -> ColumnElement[bool]:
    """Return the condition that two rows are the same one."""
    return and_(one.c.kq_table == other.c.kq_table, one.c.kq_place == other.c.kq_place)
