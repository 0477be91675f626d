"""Whole partitions that have expired: detached or dropped before a run goes along the rows of the others."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from logging import getLogger
from time import monotonic
from typing import Any, Final, cast

from sqlalchemy import (
    BinaryExpression,
    BindParameter,
    BooleanClauseList,
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
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker
from sqlalchemy.sql import operators

from kiqstart.core.retention.errors import PolicyError
from kiqstart.core.retention.faults import Fault, fault_of, first_line
from kiqstart.core.retention.policy import PartitionAction, RetentionPolicy
from kiqstart.core.retention.settings import RetentionSettings
from kiqstart.core.retention.table import explain, qualified_name
from kiqstart.core.retention.transaction import Limits, rest, transaction

logger = getLogger(__name__)

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
_SECONDS_TO_SCAN: Final = 10.0
_SECONDS_BETWEEN: Final = 0.1
_BELOW: Final = frozenset({operators.lt, operators.le})
_ABOVE: Final = frozenset({operators.gt, operators.ge})


@dataclass(frozen=True, slots=True)
class _Partition:
    name: str
    bounds: str
    rows: int


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


@dataclass(frozen=True, kw_only=True)
class PartitionSweep:
    """Lets the expired partitions of a policy's table go, each in a transaction of its own.

    A partition's bounds must prove that each row that it could have is past the cursor's limit; so an empty one for
    later is safe. What else the predicate asks for is looked up in its rows, while nobody can write to it. Where others
    hold locks, or something depends on the partition, it stays, and its rows go in batches.
    """

    sessions: async_sessionmaker[AsyncSession]
    policy: RetentionPolicy
    settings: RetentionSettings
    stop: asyncio.Event

    async def run(self) -> tuple[str, ...]:
        """Return the names of those that went, with about how many rows each had.

        Raises:
            sqlalchemy.exc.DBAPIError: the connection was lost.
        """
        async with transaction(self.sessions, self._limits) as connection:
            left = await self._expired(connection)
        gone: list[str] = []
        deadline = monotonic() + self.settings.locked_wait
        while left and not self.stop.is_set():
            locked = [one for one in left if not await self._let_go(one, gone)]
            if locked and monotonic() > deadline:
                names = ", ".join(one.name for one in locked)
                logger.warning("%s: locked, so their rows go in batches: %s", self.policy.name, names)
                break
            left = locked
        return tuple(gone)

    async def _let_go(self, partition: _Partition, gone: list[str]) -> bool:
        """Return whether the partition need not be tried again."""
        try:
            async with transaction(self.sessions, self._limits) as connection:
                if await self._try(connection, partition):
                    gone.append(f"{partition.name} (about {partition.rows:,} rows)")
        except DBAPIError as error:
            fault = fault_of(error)
            if fault is Fault.LOST:
                raise
            if fault is Fault.LOCKED:
                await rest(_SECONDS_BETWEEN, self.stop)
                return False
            reason = first_line(error)
            logger.warning("%s: %s stays, its rows go in batches: %s", self.policy.name, partition.name, reason)
        else:
            # Whoever waited for the table's lock comes first.
            await rest(_SECONDS_BETWEEN, self.stop)
        return True

    async def _try(self, connection: AsyncConnection, partition: _Partition) -> bool:
        table, action = qualified_name(connection, self.policy.table), self.policy.partitions
        # Nobody writes to it from here on. Readers go on while its rows are looked at.
        await connection.exec_driver_sql(f"LOCK TABLE {partition.name} IN SHARE MODE")
        if partition not in await self._expired(connection) or await self._has_others(connection, partition):
            return False
        await connection.exec_driver_sql(f"LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE")
        if action is PartitionAction.DROP:
            await connection.exec_driver_sql(f"DROP TABLE {partition.name}")
        else:
            await connection.exec_driver_sql(f"ALTER TABLE {table} DETACH PARTITION {partition.name}")
        logger.info("%s: %s: %s, about %d rows", self.policy.name, action, partition.name, partition.rows)
        return True

    async def _expired(self, connection: AsyncConnection) -> list[_Partition]:
        found = await connection.execute(_PARTITIONS, {"table": qualified_name(connection, self.policy.table)})
        partitions = [_Partition(row.name, row.bounds, row.rows) for row in found]
        return [one for one in partitions if await self._is_expired(connection, one)]

    async def _is_expired(self, connection: AsyncConnection, partition: _Partition) -> bool:
        """Ask the planner whether the bounds leave room for a row that is not past the limits."""
        for limit in _limits(self.policy):
            rows = select(literal(1)).select_from(self.policy.table)
            plan = await explain(connection, rows.where(literal_column(partition.bounds), not_(limit)))
            if plan.node_type != "Result" or plan.children:
                return False
        return True

    async def _has_others(self, connection: AsyncConnection, partition: _Partition) -> bool:
        limits, conditions = _limits(self.policy), _conjuncts(self.policy.rows)
        if all(any(one is limit for limit in limits) for one in conditions):
            return False
        rows = select(literal(1)).select_from(self.policy.table)
        others = rows.where(literal_column(partition.bounds), and_(*conditions).is_not(True))
        return bool(await connection.scalar(select(exists(others))))

    @property
    def _limits(self) -> Limits:
        return Limits(statement=_SECONDS_TO_SCAN, lock=self.settings.lock_timeout, idle=self.settings.takeover_after)


def _limits(policy: RetentionPolicy) -> list[ColumnElement[bool]]:
    """Return what the predicate asks of the cursor's first column alone: that it is below a value."""
    return [one for one in _conjuncts(policy.rows) if _is_limit(one, policy.key[0])]


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


def _conjuncts(condition: ColumnElement[bool]) -> Sequence[ColumnElement[bool]]:
    if isinstance(condition, BooleanClauseList) and condition.operator is operators.and_:
        clauses = cast("Sequence[ColumnElement[bool]]", condition.clauses)
        return [one for clause in clauses for one in _conjuncts(clause)]
    return [condition]
