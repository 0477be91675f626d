"""What a predicate is made of, and what of it may choose the plan.

A batch's bounds alone decide what it reads. Were the predicate's own comparisons plain, the planner could take another
index for them, by statistics that are old, and go through all that lies behind it again in each batch. To reckon how
many rows they are true of, it also looks for the index's first and last value, and so steps over what earlier batches
have deleted, in up to a hundred pages each time that it makes a plan.
"""

from collections.abc import Iterator
from typing import Any, Final, cast

from sqlalchemy import (
    TIMESTAMP,
    BigInteger,
    BinaryExpression,
    BindParameter,
    BooleanClauseList,
    Column,
    ColumnElement,
    Date,
    DateTime,
    Integer,
    and_,
    case,
    false,
    select,
    true,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import ClauseElement, Grouping
from sqlalchemy.sql.selectable import SelectBase

from kiqstart.retention.target import has_text

_RANGES: Final = frozenset(
    {operators.lt, operators.le, operators.gt, operators.ge, operators.eq, operators.is_not, operators.between_op}
)
# What tables are usually partitioned by, of types whose CAST changes no value.
_OF_PARTITIONS: Final = frozenset({DateTime, TIMESTAMP, Date, Integer, BigInteger})
_ORDERED: Final = frozenset({operators.lt, operators.le, operators.gt, operators.ge})


def opaque(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the same condition in a form that no index answers, and that the planner does not reckon with.

    Subqueries stay as they are, so as to be joined; how many rows the rest is true of then decides in which way.
    """
    parts = tuple(conjuncts(condition))
    if any(_has_subquery(one) for one in parts):
        return and_(*(one if _has_subquery(one) else one.is_(true()) for one in parts))
    return case((and_(*parts), true()), else_=false())


def bounds_of(condition: ColumnElement[bool], column: Column[Any]) -> list[ColumnElement[bool]]:
    """Return those comparisons of the condition that bound a column by constants."""
    return [one for one in conjuncts(condition) if _is_bound(one, column)]


def pruning_bound(condition: ColumnElement[bool], column: Column[Any]) -> ColumnElement[bool] | None:
    """Return one comparison that bounds a column, in a form by which partitions are left out when the statement runs.

    The planner does not know what it compares with, so statistics have no say in it. Of two comparisons it would think
    that hardly any row meets them, and take an index for them.
    """
    for one in bounds_of(condition, column):
        if isinstance(one, BinaryExpression) and one.operator in _ORDERED:
            left, right = (_unknown(side) for side in (one.left, one.right))
            if left is not None and right is not None:
                return BinaryExpression(left, right, one.operator, type_=one.type)
    return None


def _unknown(side: ColumnElement[Any]) -> ColumnElement[Any] | None:
    """Return a side of a comparison, a value in a subquery; None of what could be another value there."""
    if isinstance(side, BindParameter):
        # Written out in a dry run, a value has no type but this.
        return select(sql_cast(side, side.type)).scalar_subquery() if type(side.type) in _OF_PARTITIONS else None
    return side if isinstance(side, Column) else None


def conjuncts(condition: ColumnElement[bool]) -> Iterator[ColumnElement[bool]]:
    """Go through what a condition joins by AND."""
    inner = condition.element if isinstance(condition, Grouping) else condition
    # Of text nobody knows whether it has an OR in it.
    if isinstance(inner, BooleanClauseList) and inner.operator is operators.and_ and not has_text(inner):
        for one in cast("list[ColumnElement[bool]]", list(inner.clauses)):
            yield from conjuncts(one)
    else:
        yield condition


def _has_subquery(condition: ColumnElement[bool]) -> bool:
    return any(isinstance(one, SelectBase) for one in _elements(condition))


def _is_bound(condition: ColumnElement[bool], column: Column[Any]) -> bool:
    if not isinstance(condition, BinaryExpression) or condition.operator not in _RANGES or _has_subquery(condition):
        return False
    sides = cast("tuple[ClauseElement, ClauseElement]", (condition.left, condition.right))
    constants = [one for one in sides if not any(isinstance(inner, Column) for inner in _elements(one))]
    return len(constants) == 1 and any(
        isinstance(one, Column) and one.name == column.name and one.table.name == column.table.name for one in sides
    )


def _elements(condition: ClauseElement) -> Iterator[ClauseElement]:
    return cast("Iterator[ClauseElement]", visitors.iterate(condition))
