"""Which table and which rows a policy means, as SQLAlchemy would select them."""

from collections.abc import Iterator
from typing import Any, Final, cast

from sqlalchemy import (
    ColumnElement,
    Delete,
    Integer,
    Select,
    Table,
    TextClause,
    and_,
    delete,
    inspect,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import CompileError, InvalidRequestError, NoInspectionAvailable
from sqlalchemy.orm import ColumnProperty, DeclarativeBase, Mapper
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import ClauseElement, ColumnClause, Grouping
from sqlalchemy.sql.schema import Column

# No parameter, which would number those of a condition otherwise than a DELETE does.
_ONE: Final[ColumnElement[int]] = literal_column("1", Integer)
_DIALECT: Final = postgresql.asyncpg.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's has no annotations
_NO_TEXT: Final = frozenset({"*", "1"})


class TargetError(Exception):
    """What is wrong with a policy's model, columns or predicate, and what to do about it."""


class _Apart(Grouping[bool]):
    """Brackets that SQLAlchemy does not leave out where it joins conditions by AND."""

    inherit_cache = True
    # Else that of what is inside.
    operator = None


def mapper_of(model: type[DeclarativeBase]) -> Mapper[DeclarativeBase]:
    """Return the mapper of a class whose rows all lie in one table.

    Raises:
        TargetError: it is not such a class.
    """
    try:
        mapper = inspect(model)
    except NoInspectionAvailable:
        mapper = None
    if not isinstance(mapper, Mapper):
        raise TargetError(f"its model must be a mapped class, not {model!r}")
    if not isinstance(mapper.local_table, Table):
        raise TargetError(
            f"{mapper.class_.__name__} is not mapped to a table but to a {type(mapper.local_table).__name__.lower()}: "
            "name the class of the table whose rows are to go"
        )
    if mapper.persist_selectable is not mapper.local_table:
        raise TargetError(
            f"each row of {mapper.class_.__name__} lies in several tables (joined inheritance): make a policy for "
            f"{mapper.base_mapper.class_.__name__}, whose foreign keys take the other rows along by ON DELETE CASCADE"
        )
    return mapper


def table_of(model: type[DeclarativeBase]) -> Table[Any]:
    """Return the table of a mapped class.

    Raises:
        TargetError: there is no such table, or it is not the only one.
    """
    return cast("Table[Any]", mapper_of(model).local_table)


def column_of(model: type[DeclarativeBase], attribute: object) -> Column[Any]:
    """Return the table's column behind an attribute, which may be a synonym or a hybrid that is just the column.

    Raises:
        TargetError: there is none.
    """
    table = table_of(model)
    for column in _columns_of(attribute):
        if table.columns.contains_column(column):
            return column
    raise TargetError(f"{attribute} is not a column of {table.name!r}: name one of the table's own columns")


def rows_of(model: type[DeclarativeBase], predicate: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition that a row of the table is one of the class, and that the predicate is true of it.

    A class that shares its table with others has a condition of its own, which SQLAlchemy adds to a SELECT of the class
    but not to a DELETE of its table.
    """
    condition, kinds = _in_brackets(model, predicate), _kinds_of(model)
    return and_(condition) if kinds is None else and_(condition, kinds)


def check_rows(model: type[DeclarativeBase], predicate: ColumnElement[bool]) -> None:
    """Return if a DELETE of the table takes the rows that SQLAlchemy selects of the class, and looks at no other table.

    Raises:
        TargetError: it does not.
    """
    table = table_of(model)
    # The wrong type: `Model.id == 1 and Model.flag is True` is True or False in Python.
    if not isinstance(cast("object", predicate), ClauseElement) and not hasattr(predicate, "__clause_element__"):
        raise TargetError(f"its predicate must be a condition of SQLAlchemy's, not {predicate!r}")
    # As SQLAlchemy reads the class, by all that a mapper can be: this is what a caller means.
    truth = select(_ONE).select_from(model).where(_in_brackets(model, predicate))
    only = {table}
    try:
        others = [str(one) for one in truth.get_final_froms() if one not in only]
    except CompileError as error:
        raise _unwritable(error) from None
    except InvalidRequestError:
        # A subquery whose tables are all outside of it as well is left with none.
        raise TargetError(
            "its predicate names a table both in a subquery and outside of it: name tables other than "
            f"{table.name!r} in EXISTS or IN alone"
        ) from None
    if others:
        names = ", ".join(repr(name) for name in others)
        raise TargetError(
            f"its predicate names more than the table {table.name!r}: {names}; look there by EXISTS or IN, which may "
            "name other tables and aliases, and use the columns of the policy's own class elsewhere"
        )
    try:
        of_delete = _where(delete(table).where(rows_of(model, predicate)), table)
        same = of_delete is not None and of_delete == _where(truth, table)
    except CompileError as error:
        raise _unwritable(error) from None
    if not same:
        raise TargetError(
            "a DELETE would take other rows than SQLAlchemy selects for its class and predicate: name only columns of "
            f"{model.__name__} in it, or write the condition on the other class's discriminator out"
        )


def statement_text(model: type[DeclarativeBase], predicate: ColumnElement[bool]) -> tuple[str, dict[str, Any]]:
    """Return the DELETE of all of a policy's rows, and its parameters."""
    compiled = delete(table_of(model)).where(rows_of(model, predicate)).compile(dialect=_DIALECT)
    return compiled.string, dict(compiled.params)


def outer_elements(predicate: ColumnElement[bool]) -> Iterator[ClauseElement]:
    """Go through a condition and all that it is made of."""
    yield from cast("Iterator[ClauseElement]", visitors.iterate(_element(predicate)))


def has_text(condition: ColumnElement[bool]) -> bool:
    """Whether a part of a condition is text; the `*` and `1` of subqueries are not."""
    return any(
        isinstance(one, TextClause) or (isinstance(one, ColumnClause) and one.is_literal and one.name not in _NO_TEXT)
        for one in outer_elements(condition)
    )


def _unwritable(error: CompileError) -> TargetError:
    return TargetError(f"its predicate cannot be written as SQL: {error}")


def _where(statement: Select[Any] | Delete, table: Table[Any]) -> tuple[str, dict[str, Any]] | None:
    """Return the condition of a statement on one table; None where it names more than that table."""
    compiled = statement.compile(dialect=_DIALECT)
    name = compiled.preparer.format_table(table)
    begin, where = ("DELETE FROM ", " WHERE ") if isinstance(statement, Delete) else ("SELECT 1 \nFROM ", " \nWHERE ")
    begin += name + where
    # Before it there may be a WITH.
    before, found, after = compiled.string.partition(begin)
    return (before + after, dict(compiled.params)) if found else None


def _kinds_of(model: type[DeclarativeBase]) -> ColumnElement[bool] | None:
    """Return what tells the rows of a class from those of others in its table; None if all are the class's."""
    mapper = mapper_of(model)
    if not (mapper.single and mapper.inherits) or mapper.polymorphic_on is None:
        return None
    kinds = [one.polymorphic_identity for one in mapper.self_and_descendants if not one.polymorphic_abstract]
    return mapper.polymorphic_on.in_(kinds)


def _in_brackets(model: type[DeclarativeBase], predicate: ColumnElement[bool]) -> ColumnElement[bool]:
    """Keep a predicate apart from what is added to it, as text, of which nobody knows whether it has an OR in it."""
    if not has_text(predicate) and _kinds_of(model) is None:
        return predicate
    return _Apart(cast("ColumnElement[bool]", _element(predicate)))


def _element(predicate: ColumnElement[bool]) -> ClauseElement:
    # A mapped attribute of type boolean is a predicate, too.
    inner = getattr(predicate, "__clause_element__", None)
    return cast("ClauseElement", inner() if inner is not None else predicate)


def _columns_of(attribute: object) -> list[Column[Any]]:
    if isinstance(attribute, Column):
        return [attribute]
    # A hybrid or an association proxy whose expression is not an attribute has none.
    found = getattr(attribute, "property", None)
    return [one for one in found.columns if isinstance(one, Column)] if isinstance(found, ColumnProperty) else []
