"""The types that PostgreSQL has for a table's columns.

A model may have others, a narrower one as well: values cast to that would be cut, rounded or compared in another order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Text, cast, func, literal
from sqlalchemy.types import UserDefinedType


class StoredType(UserDefinedType[Any]):
    """A type by its name in SQL."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **kw: object) -> str:
        """Name the type in a CAST."""
        del kw
        return self.name


@dataclass(frozen=True, slots=True)
class StoredTypes:
    """The types of some of a table's columns, by the columns' names; `arrays` are the columns of arrays."""

    names: Mapping[str, str]
    arrays: frozenset[str]

    def value(self, written: str, column: Column[Any]) -> ColumnElement[Any]:
        """Make a value of a column's type of PostgreSQL's text for it."""
        return cast(literal(written, Text), StoredType(self.names[column.name]))

    def many(self, written: ColumnElement[str], column: Column[Any]) -> ColumnElement[Any] | None:
        """Make rows of a column's type of PostgreSQL's text for an array of them; None where it would go too deep."""
        if column.name in self.arrays:
            return None
        values = cast(written, StoredType(f"{self.names[column.name]}[]"))
        return func.unnest(values).column_valued("value", joins_implicitly=True)
