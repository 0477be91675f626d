"""Which whole partitions of a policy's table have expired, so that none of their rows need be looked at one by one."""

from dataclasses import dataclass, field
from typing import Any, Final, cast

from sqlalchemy import (
    BinaryExpression,
    BindParameter,
    Column,
    ColumnElement,
    and_,
    exists,
    literal,
    literal_column,
    not_,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import operators

from kiqstart.retention.conjuncts import conjuncts
from kiqstart.retention.errors import PolicyError
from kiqstart.retention.explain import explain
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.table import qualified_name

_KEY: Final = text("""
SELECT p.partstrat = 'r' AND p.partnatts = 1 AND a.attname = :column AS is_by_column,
    pg_has_role(c.relowner, 'USAGE') AS is_owner, c.relowner::regrole::text AS owner
FROM pg_class c
LEFT JOIN pg_partitioned_table p ON p.partrelid = c.oid
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
WHERE c.oid = CAST(:table AS regclass)
""")
# Without the default partition, whose rows may be of any time.
_PARTITIONS: Final = text("""
SELECT c.oid::regclass::text AS name, pg_get_partition_constraintdef(c.oid) AS bounds,
    (WITH RECURSIVE part AS (SELECT c.oid AS oid UNION ALL
        SELECT h.inhrelid FROM pg_inherits h JOIN part ON h.inhparent = part.oid)
     SELECT sum(greatest(leaf.reltuples, 0)) FROM pg_class leaf JOIN part ON part.oid = leaf.oid
     WHERE leaf.relkind <> 'p')::bigint AS rows
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = CAST(:table AS regclass) AND NOT i.inhdetachpending AND c.relkind IN ('r', 'p')
    AND pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'
ORDER BY bounds
""")
_BELOW: Final = frozenset({operators.lt, operators.le})
_ABOVE: Final = frozenset({operators.gt, operators.ge})


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition: its name as SQL writes it, its bounds as a condition, and about how many rows it has."""

    name: str
    bounds: str
    rows: int = field(compare=False)

    def __str__(self) -> str:
        """Return it as a report has it."""
        return f"{self.name} (about {self.rows:,} rows)"


async def check_partitions(connection: AsyncConnection, policy: RetentionPolicy) -> None:
    """Return if whole partitions of the policy's table can go.

    Raises:
        PolicyError: they cannot.
    """
    if policy.partitions is None:
        return
    if policy.archive is not None or policy.update is not None:
        raise PolicyError(policy.name, "partitions go without their rows being looked at, so leave out `partitions`")
    if not policy.cursor or not _limits(policy):
        raise PolicyError(
            policy.name,
            "a partition expires by the cursor's first column: name it in `cursor`, and compare it in the predicate "
            "with its limit by `<`, joined to the rest by AND",
        )
    table, column = qualified_name(connection, policy.table), policy.key[0].name
    key = (await connection.execute(_KEY, {"table": table, "column": column})).one()
    if not key.is_by_column:
        raise PolicyError(
            policy.name, f"{table} is not partitioned by range on {column!r} alone, so leave out `partitions`"
        )
    if not key.is_owner:
        raise PolicyError(
            policy.name, f"only the owner of {table}, {key.owner}, may {policy.partitions} its partitions"
        )


async def expired_partitions(connection: AsyncConnection, policy: RetentionPolicy) -> list[Partition]:
    """Return the partitions whose bounds leave no room for a row that is not past the cursor's limit."""
    found = await connection.execute(_PARTITIONS, {"table": qualified_name(connection, policy.table)})
    partitions = [Partition(row.name, row.bounds, row.rows) for row in found]
    return [one for one in partitions if await _is_expired(connection, policy, one)]


async def has_other_rows(connection: AsyncConnection, policy: RetentionPolicy, partition: Partition) -> bool:
    """Whether an expired partition has a row that the policy does not name, for what else its predicate asks."""
    limits, conditions = _limits(policy), tuple(conjuncts(policy.rows))
    if all(any(one is limit for limit in limits) for one in conditions):
        return False
    rows = select(literal(1)).select_from(policy.table)
    others = rows.where(literal_column(partition.bounds), and_(*conditions).is_not(True))
    return bool(await connection.scalar(select(exists(others))))


async def _is_expired(connection: AsyncConnection, policy: RetentionPolicy, partition: Partition) -> bool:
    for limit in _limits(policy):
        rows = select(literal(1)).select_from(policy.table)
        # The planner proves it: nothing is left to be read.
        plan = await explain(connection, rows.where(literal_column(partition.bounds), not_(limit)))
        if plan.node_type != "Result" or plan.children:
            return False
    return True


def _limits(policy: RetentionPolicy) -> list[ColumnElement[bool]]:
    """Return what the predicate asks of the cursor's first column alone: that it is below a value."""
    return [one for one in conjuncts(policy.rows) if _is_limit(one, policy.key[0])]


def _is_limit(condition: ColumnElement[bool], column: Column[Any]) -> bool:
    if not isinstance(condition, BinaryExpression):
        return False
    left, right = cast("tuple[ColumnElement[Any], ...]", (condition.left, condition.right))
    if condition.operator in _ABOVE:
        left, right = right, left
    elif condition.operator not in _BELOW:
        return False
    # The column as the ORM annotates it is equal, and not the same.
    return (
        isinstance(left, Column)
        and hash(left) == hash(column)
        and isinstance(right, BindParameter)
        and right.value is not None
    )
