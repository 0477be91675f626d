"""Another action than DELETE: the policy's rows stay, with other values in some of their columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import Column, ColumnElement, Select, Table, func, literal, select, update
from sqlalchemy import cast as sql_cast
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.visitors import ExternallyTraversible, iterate, replacement_traverse

from kiqstart.core.retention.errors import PolicyError
from kiqstart.core.retention.faults import Fault, fault_of

_SAMPLE: Final = 100


@dataclass(frozen=True, kw_only=True)
class RowUpdate:
    """An UPDATE instead of a DELETE, to anonymise rows or to mark them as deleted.

        RowUpdate(values={User.email: None, User.name: "deleted"}, done=User.email.is_(None))

    Args:
        values: what each column becomes: a value, or an expression of the row's columns.
        done: true for rows that need not be touched (again). It must be true of every row after the update: that is
            checked before a run, and in each batch, which is rolled back where a trigger has it otherwise.
    """

    values: Mapping[InstrumentedAttribute[Any], object]
    done: ColumnElement[bool]

    def check(self, policy: str, table: Table[Any]) -> None:
        """Return if the columns can be set.

        Raises:
            PolicyError: what is wrong with them.
        """
        if not self.values:
            raise PolicyError(policy, "its update sets no column: name at least one in `values`")
        for attribute in self.values:
            column = table.columns.get(attribute.key, table.columns.get(attribute.name))
            if column is None or attribute.class_.__table__ is not table:
                raise PolicyError(policy, f"its update sets {str(attribute)!r}, which is no column of {table.name!r}")
            if column.primary_key:
                raise PolicyError(
                    policy, f"its update sets {column.name!r}, a column of the primary key, which tells rows apart"
                )

    def statement(self, table: Table[Any], *where: ColumnElement[bool]) -> Select[int, int]:
        """Build the UPDATE of these rows, which says how many they were, and how many of them are done."""
        changed = (
            update(table).where(*where).values(self._assignments(table)).returning(self.done.is_(True).label("is_done"))
        ).cte("changed")
        return select(func.count(), func.count().filter(changed.c.is_done)).select_from(changed)

    async def check_done(
        self, connection: AsyncConnection, policy: str, table: Table[Any], predicate: ColumnElement[bool]
    ) -> None:
        """Return if the rows are done after the update: by its values alone, or else by a sample of the rows.

        Raises:
            PolicyError: they are not, so each run would take them again.
        """
        after = self._after(table)
        rows = select(after.is_(True).label("is_done"))
        if any(isinstance(one, Column) and one.table is table for one in iterate(cast("ExternallyTraversible", after))):
            rows = rows.select_from(table).where(predicate).limit(_SAMPLE)
        sample = rows.subquery()
        try:
            async with connection.begin_nested():
                is_done = await connection.scalar(select(func.bool_and(sample.c.is_done)))
        except DBAPIError as error:
            # A sample that takes too long; each batch looks anyway.
            if fault_of(error) is not Fault.SLOW:
                raise
            is_done = None
        if is_done is False:
            raise not_done(policy)

    def _assignments(self, table: Table[Any]) -> dict[Column[Any], ColumnElement[Any]]:
        return {
            table.columns[attribute.name]: value
            if isinstance(value, ColumnElement)
            else literal(value, table.columns[attribute.name].type)
            for attribute, value in self.values.items()
        }

    def _after(self, table: Table[Any]) -> ColumnElement[bool]:
        """Return `done` as it is of a row after the update, in terms of the row before."""
        new = {column.name: sql_cast(value, column.type) for column, value in self._assignments(table).items()}

        def replace(element: ExternallyTraversible, **kw: object) -> ExternallyTraversible | None:
            del kw
            if isinstance(element, Column) and element.table.name == table.name and element.name in new:
                return new[element.name]
            return None

        return replacement_traverse(self.done, {}, replace)


def not_done(policy: str) -> PolicyError:
    """Say that the update does not do what its `done` says."""
    return PolicyError(
        policy,
        "after its update `done` is not true of a row, which each run would take again: "
        "set what `done` asks for, and look for triggers that set it back",
    )
