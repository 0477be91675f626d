"""What becomes of the rows of a batch: those that go, and why others stay."""

from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, and_, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.action import act_measured
from kiqstart.retention.cost import BatchCost
from kiqstart.retention.deletion import count_rows, delete_range, delete_unlocked
from kiqstart.retention.heap import Place
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.relation import Relation
from kiqstart.retention.report import FailureGroup, plain_key
from kiqstart.retention.transaction import FREES_TRIGGERS
from kiqstart.retention.tree import prune


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many rows went, are locked, or are held back by rows that refer to them; and which cannot go.

    `above` has places of rows that those which went referred to.
    """

    deleted: int
    locked: int = 0
    held: int = 0
    failures: tuple[FailureGroup, ...] = ()
    above: tuple[Place, ...] = ()
    cost: BatchCost = field(default_factory=BatchCost)


async def delete_batch(
    connection: AsyncConnection,
    policy: RetentionPolicy,
    relation: Relation,
    where: ColumnElement[bool],
    *,
    limit: int | None,
    passes_over: bool,
    measures: bool = False,
    climbs: bool = False,
) -> Outcome:
    """Delete the policy's rows of a stretch; passing over locked rows, at most so many."""
    above: tuple[Place, ...] = ()
    held, cost = 0, BatchCost()
    if relation.has_row_triggers:
        where = and_(where, FREES_TRIGGERS)
    if relation.own_references:
        is_cut = passes_over and limit is not None and await count_rows(connection, policy, where) > limit
        most = limit if is_cut else None
        pruned = await prune(
            connection, policy, relation.own_references, where, limit=most, passes_over=passes_over, climbs=climbs
        )
        deleted, held, above = pruned.deleted, pruned.held, pruned.above
    elif passes_over:
        deleted = await delete_unlocked(connection, policy, where, limit=limit)
    elif measures:
        deleted, cost = await act_measured(connection, policy, where)
    else:
        deleted = await delete_range(connection, policy, where)
    if (passes_over and deleted == limit) or not (passes_over or relation.keeper):
        return Outcome(deleted, held=held, above=above, cost=cost)
    locked = max(0, await count_rows(connection, policy, where) - held)
    if not locked or relation.keeper is None:
        return Outcome(deleted, locked, held, above=above, cost=cost)
    # Nobody has a lock on what a trigger keeps.
    kept = max(0, await _count_unlocked(connection, policy, where) - held)
    failures = await kept_rows(connection, policy, where, kept, relation.keeper)
    return Outcome(deleted, locked - kept, held, failures, above, cost)


async def kept_rows(
    connection: AsyncConnection, policy: RetentionPolicy, where: ColumnElement[bool], rows: int, trigger: str
) -> tuple[FailureGroup, ...]:
    """Say of so many rows of a stretch that a trigger keeps them."""
    if not rows:
        return ()
    return (FailureGroup({}, await any_key(connection, policy, where), f"trigger {trigger!r} keeps the row", rows),)


async def any_key(
    connection: AsyncConnection, policy: RetentionPolicy, where: ColumnElement[bool]
) -> dict[str, str | int]:
    """Return the key of one of the policy's rows of a stretch, if there is one."""
    rows = select(*policy.primary_key).where(where, policy.row_filter).limit(1)
    # Of rows that are locked nobody knows yet.
    row = (await connection.execute(rows.with_for_update(skip_locked=True, of=policy.table))).one_or_none()
    return {column.name: plain_key(value) for column, value in zip(policy.primary_key, row or (), strict=False)}


async def _count_unlocked(connection: AsyncConnection, policy: RetentionPolicy, where: ColumnElement[bool]) -> int:
    rows = select(literal(1)).select_from(policy.table).where(where, policy.row_filter)
    free = rows.with_for_update(skip_locked=True, of=policy.table).correlate(None).subquery()
    return (await connection.execute(select(func.count()).select_from(free))).scalar_one()
