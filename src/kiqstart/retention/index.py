"""The index that a scan along a key goes by."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Boolean, ColumnElement, Text, and_, cast, literal_column, select, text, true
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.conjuncts import bounds_of
from kiqstart.retention.explain import PlanNode, explain
from kiqstart.retention.heap import ctid
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.table import FAMILY, qualified_name

_ONLY_INDEXES: Final = text("""
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
    set_config('enable_bitmapscan', 'off', true)
""")
_ANY_PLAN: Final = text("""
SELECT set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true),
    set_config('enable_bitmapscan', 'on', true)
""")
# Nothing where an index has all rows.
_CONDITIONS: Final = text(f"""
WITH RECURSIVE {FAMILY}
SELECT DISTINCT coalesce(pg_get_expr(i.indpred, i.indrelid), '') AS condition
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid IN (SELECT oid FROM family) AND c.relname = ANY(CAST(:names AS text[]))
""")  # noqa: S608 - made of constants


@dataclass(frozen=True, slots=True)
class CursorIndex:
    """An index that leads to the policy's rows in the order of the cursor's first column.

    `scope` is true of the rows that a scan along it comes by, the policy's and others between them; `by_key` names the
    index (of each partition) in which rows equal in that column come in the order of the whole key, if there is one;
    `cost_of_rows` is the planner's, of reading them all to delete them, `cost_of_ends` of reading them once before, to
    find where batches end, and `rows` how many it thinks they are.
    """

    scope: ColumnElement[bool]
    by_key: frozenset[str]
    cost_of_rows: float
    cost_of_ends: float
    rows: int

    @property
    def cost(self) -> float:
        """The planner's price of all, where each end is looked for."""
        return self.cost_of_rows + self.cost_of_ends

    @property
    def cost_per_row(self) -> float:
        """The planner's price of a row that is looked at."""
        return self.cost / max(1, self.rows)


async def find_index(connection: AsyncConnection, policy: RetentionPolicy) -> CursorIndex | None:
    """Ask the planner, since it alone knows whether a partial index covers the predicate."""
    first = policy.key[0]
    await connection.execute(_ONLY_INDEXES)
    plan = await _explain_in_order(connection, policy, policy.rows, policy.key[:1])
    found = None
    if not _sorts(plan):
        scope = await _scope(connection, policy, plan.indexes())
        along = await _explain_in_order(connection, policy, scope, policy.key[:1])
        # As text, for the plan comes back in the place of the column, and is not of its type.
        ends = await _explain_in_order(connection, policy, scope, policy.key[:1], reads=cast(first, Text))
        is_one = len(policy.key) == 1
        by_key = along if is_one else await _explain_in_order(connection, policy, scope, policy.key)
        names = frozenset[str]() if _sorts(by_key) else by_key.indexes()
        found = CursorIndex(and_(scope, first.is_not(None)), names, along.cost, ends.cost, along.rows)
    await connection.execute(_ANY_PLAN)
    return found


async def _scope(connection: AsyncConnection, policy: RetentionPolicy, names: Iterable[str]) -> ColumnElement[bool]:
    parameters = {"table": qualified_name(connection, policy.table), "names": list(names)}
    conditions = list(await connection.scalars(_CONDITIONS, parameters))
    if len(conditions) != 1:
        # The partitions' indexes have different rows: all that is known of them is that they have the policy's.
        return policy.rows
    # As the catalogue writes it: of the table's columns alone, each by its bare name.
    condition = literal_column(f"({conditions[0]})", Boolean) if conditions[0] else true()
    return and_(condition, *bounds_of(policy.rows, policy.key[0]))


async def _explain_in_order(
    connection: AsyncConnection,
    policy: RetentionPolicy,
    where: ColumnElement[bool],
    order: Sequence[ColumnElement[object]],
    *,
    # The row's place: what is deleted is read from the heap, so the index alone must not do.
    reads: ColumnElement[Any] = ctid,
) -> PlanNode:
    rows = select(reads).select_from(policy.table).where(where, policy.key[0].is_not(None))
    return (await explain(connection, rows.order_by(*order).limit(1))).inside_limit()


def _sorts(plan: PlanNode) -> bool:
    return any("Sort" in node.node_type for node in plan.nodes())
