"""The ways up from rows of which nothing refers to them any more, each from a row to those that it refers to."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import CTE, ColumnElement, Label, column, exists, or_, select, true, tuple_

from kiqstart.retention.heap import Place, ctid, is_at, tableoid
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.tree import SelfReference, rows_above, rows_with_ends, same_row


def ways_up(
    policy: RetentionPolicy, references: Sequence[SelfReference], places: Sequence[Place], rows: int
) -> ColumnElement[bool]:
    """Return the condition that a row is one of the first so many on the ways up that begin at those places."""
    seeds = rows_with_ends(policy, references).where(is_at(places), policy.row_filter).correlate(None)
    begin = seeds.cte("kq_begin").prefix_with("MATERIALIZED")
    referred_to = or_(*(_is_referred_to(policy, begin, *one) for one in enumerate(references)))
    up = select(*begin.c).where(~referred_to).cte("kq_up", recursive=True)
    above = rows_above(policy, references, up, policy.row_filter)
    up = up.union(select(*above.c).select_from(up.join(above, true())))
    return tuple_(tableoid, ctid).in_(select(up.c.kq_table, up.c.kq_place).limit(rows))


def _is_referred_to(policy: RetentionPolicy, begin: CTE, number: int, reference: SelfReference) -> ColumnElement[bool]:
    """Return the condition that another row refers to a row."""
    ends: list[Label[Any]] = [column(name).label(f"kq_{at}") for at, name in enumerate(reference.columns)]
    rows = select(tableoid.label("kq_table"), ctid.label("kq_place"), *ends).select_from(policy.table).correlate(None)
    other = (rows if reference.holds_all else rows.where(policy.row_filter)).subquery(f"kq_by_{number}")
    refers = (other.c[f"kq_{at}"] == begin.c[f"kq_to_{number}_{at}"] for at in range(len(reference.columns)))
    return exists().where(*refers, ~same_row(other, begin))
