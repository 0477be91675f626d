"""Predicates that look at other rows of their own table, to keep the newest of a group.

Earlier batches have deleted some of these rows, so a predicate must be true of a row or not whatever is gone by then.
That is so where it asks whether n rows of the row's group lie beyond it in some order: the last n of a group never have
so many beyond them, so they stay, and each of the others has them beyond it to the end.
"""

from re import escape, findall
from typing import Any, Final, cast

from sqlalchemy import (
    Alias,
    BinaryExpression,
    BindParameter,
    Column,
    ColumnClause,
    ColumnElement,
    Exists,
    Function,
    Integer,
    ScalarSelect,
    Select,
    Table,
    Tuple,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import ClauseElement, Grouping
from sqlalchemy.sql.selectable import SelectBase

from kiqstart.retention.conjuncts import conjuncts
from kiqstart.retention.target import TargetError, has_text, outer_elements

_BEYOND: Final = frozenset({operators.gt, operators.lt})
_DIALECT: Final = postgresql.asyncpg.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's has no annotations
_ONE: Final[ColumnElement[int]] = literal_column("1", Integer)


def check_own_rows(table: Table[Any], predicate: ColumnElement[bool], *, deletes: bool) -> None:
    """Return if a predicate names the same rows however many of them have been deleted.

    Raises:
        TargetError: it may name others then, or rows are updated, which may move them in their group.
    """
    for one in conjuncts(predicate):
        if _reads_rows_of(table, one) and not (deletes and _counts_beyond(table, one)):
            raise TargetError(
                f"its predicate looks at other rows of {table.name!r}, some of which earlier batches may have deleted, "
                "so that other rows would go than those that it names now: to keep the newest n of a group, write "
                "`select(func.count()).where(newer.group == Model.group, newer.at > Model.at).scalar_subquery() >= n`; "
                "else mark the rows by a column first, and name that"
            )


def _counts_beyond(table: Table[Any], condition: ColumnElement[bool]) -> bool:
    """Whether it asks for no more than a number of rows of the same group that lie beyond the row."""
    query = _counted(condition)
    if query is None or query.whereclause is None:
        return False
    aliases = _own_aliases(table, query)
    # Sets, as what the ORM has annotated is another object and yet the same.
    if len(aliases) != 1 or {*query.get_final_froms()} - {table} != set(aliases):
        return False
    (alias,) = aliases
    # Whatever else it has (a limit, an offset, groups) makes another text of it.
    plain = select(*query.selected_columns).select_from(alias).where(query.whereclause)
    if _text(table, query) != _text(table, plain):
        return False
    parts = [_kind(table, alias, part) for part in conjuncts(query.whereclause)]
    return None not in parts and parts.count(True) == 1


def _counted(condition: ColumnElement[bool]) -> Select[Any] | None:
    """Return the subquery of an EXISTS, or of a count that is compared with a constant."""
    inner = _bare(condition)
    if isinstance(inner, Exists):
        query = _query(inner.element)
        return None if query is None else query.with_only_columns(_ONE)
    if not isinstance(inner, BinaryExpression) or inner.operator not in {operators.ge, operators.gt}:
        return None
    query = _query(inner.left) if isinstance(inner.right, BindParameter) else None
    return query if query is not None and [_is_count(one) for one in query.selected_columns] == [True] else None


def _is_count(selected: object) -> bool:
    """Whether it counts rows, or those in which a column is not NULL."""
    inner = _bare(selected)
    if not isinstance(inner, Function) or inner.name != "count":
        return False
    arguments = [_bare(one) for one in inner.clauses]
    return all(isinstance(one, Column) or (isinstance(one, ColumnClause) and one.name == "*") for one in arguments)


def _kind(table: Table[Any], alias: Alias, part: ColumnElement[bool]) -> bool | None:
    """Say of a part of the subquery's condition: it is true of rows beyond (True), or of a group or some rows (False).

    None if it is neither.
    """
    inner = _bare(part)
    if isinstance(inner, BinaryExpression) and _are_same(table, alias, inner.left, inner.right):
        return inner.operator in _BEYOND if inner.operator in {*_BEYOND, operators.eq} else None
    elements = list(outer_elements(part))
    is_of_alias = not any(
        isinstance(one, SelectBase) or (isinstance(one, Column) and table.columns.contains_column(one))
        for one in elements
    )
    return False if is_of_alias and not has_text(part) else None


def _are_same(table: Table[Any], alias: Alias, left: ClauseElement, right: ClauseElement) -> bool:
    """Whether these are the same columns of the table and of the alias."""
    pairs = list(zip(_columns(left), _columns(right), strict=False))
    if not pairs or len(_columns(left)) != len(_columns(right)):
        return False
    of_table, of_alias = table.columns.contains_column, alias.columns.contains_column
    return all(
        one.name == other.name
        and ((of_table(one) and of_alias(other)) or (of_alias(one) and of_table(other)))
        and of_table(one) == of_table(pairs[0][0])
        for one, other in pairs
    )


def _columns(side: ClauseElement) -> list[Column[Any]]:
    inner = _bare(side)
    parts = [_bare(one) for one in inner.clauses] if isinstance(inner, Tuple) else [inner]
    return [one for one in parts if isinstance(one, Column)] if all(isinstance(one, Column) for one in parts) else []


def _reads_rows_of(table: Table[Any], condition: ColumnElement[bool]) -> bool:
    """Whether the table is, under whatever name, also among what a subquery reads."""
    compiled = select(_ONE).select_from(table).where(condition).compile(dialect=_DIALECT)
    name = escape(compiled.preparer.format_table(table))
    return len(findall(rf"(?:\bFROM|\bJOIN|,)\s+\(*{name}(?![\w\".(])", compiled.string)) > 1


def _own_aliases(table: Table[Any], condition: ClauseElement) -> list[Alias]:
    elements = outer_elements(cast("ColumnElement[bool]", condition))
    aliases = (cast("Alias", one) for one in elements if isinstance(one, Alias))
    return list(dict.fromkeys(one for one in aliases if one.element == table))


def _query(element: object) -> Select[Any] | None:
    inner = _bare(element)
    if isinstance(inner, ScalarSelect):
        query: object = inner.element
        inner = _bare(query)
    return cast("Select[Any]", inner) if isinstance(inner, Select) else None


def _bare(element: object) -> object:
    return _bare(cast("Grouping[object]", element).element) if isinstance(element, Grouping) else element


def _text(table: Table[Any], query: Select[Any]) -> str:
    return str(select(_ONE).select_from(table).where(query.exists()))
