"""Another action than DELETE: the policy's rows stay, with other values in some of their columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from sqlalchemy import Column, ColumnElement, Select, func, literal, select, update
from sqlalchemy import cast as sql_cast
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute
from sqlalchemy.sql.visitors import ExternallyTraversible, replacement_traverse

from kiqstart.retention.errors import PolicyError
from kiqstart.retention.faults import Fault, fault_of
from kiqstart.retention.target import TargetError, check_rows, column_of, outer_elements, table_of

# CTEs of an action: the rows that it was done to, and those of them to which it was done wholly.
ACTED: Final = "acted"
DONE: Final = "done"

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

    def check(self, model: type[DeclarativeBase]) -> None:
        """Return if the columns can be set.

        Raises:
            TargetError: what is wrong with them.
        """
        table = table_of(model)
        if not self.values:
            raise TargetError("its update sets no column: name at least one in `values`")
        for column, value in self.assignments(model).items():
            if column.primary_key:
                raise TargetError(f"its update sets {column.name!r}, of the primary key, which tells rows apart")
            if others := [str(one) for one in select(value).get_final_froms() if one is not table]:
                raise TargetError(
                    f"its update sets {column.name!r} from {others[0]!r}: look there by a scalar subquery"
                )
        check_rows(model, self.done)

    def statement(self, model: type[DeclarativeBase], *where: ColumnElement[bool]) -> Select[int, int]:
        """Build the UPDATE of these rows, which says how many they were, and how many of them are done."""
        changed = update(table_of(model)).where(*where).values(self.assignments(model))
        acted = changed.returning(self.done.is_(True).label("is_done")).cte(ACTED)
        done = select(literal(1).label("one")).where(acted.c.is_done).cte(DONE).prefix_with("MATERIALIZED")
        met, counted = (select(func.count()).select_from(cte).scalar_subquery() for cte in (acted, done))
        return select(met, counted)

    async def check_done(
        self, connection: AsyncConnection, policy: str, model: type[DeclarativeBase], predicate: ColumnElement[bool]
    ) -> None:
        """Return if the rows are done after the update: by its values alone, or else by a sample of the rows.

        Raises:
            PolicyError: they are not, so each run would take them again.
        """
        table, after = table_of(model), self._after(model)
        rows = select(after.is_(True).label("is_done"))
        if any(isinstance(one, Column) and table.columns.contains_column(one) for one in outer_elements(after)):
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

    def assignments(self, model: type[DeclarativeBase]) -> dict[Column[Any], ColumnElement[Any]]:
        """Return what each of the table's columns becomes.

        Raises:
            TargetError: an attribute is not a column of the class.
        """
        columns = {column_of(model, attribute): value for attribute, value in self.values.items()}
        return {column: _expression(value, column) for column, value in columns.items()}

    def _after(self, model: type[DeclarativeBase]) -> ColumnElement[bool]:
        """Return `done` as it is of a row after the update, in terms of the row before."""
        new: dict[object, ColumnElement[Any]] = {
            column: sql_cast(value, column.type) for column, value in self.assignments(model).items()
        }

        def replace(element: ExternallyTraversible, **kw: object) -> ExternallyTraversible | None:
            del kw
            return new.get(element)

        return replacement_traverse(self.done, {}, replace)


def _is_expression(value: object) -> TypeGuard[ColumnElement[Any]]:
    return isinstance(value, ColumnElement)


def _expression(value: object, column: Column[Any]) -> ColumnElement[Any]:
    if _is_expression(value):
        return value
    # A mapped attribute is the expression of its column.
    clause = getattr(value, "__clause_element__", None)
    return literal(value, column.type) if clause is None else clause()


def not_done(policy: str) -> PolicyError:
    """Say that the update does not do what its `done` says."""
    return PolicyError(
        policy,
        "after its update `done` is not true of a row, which each run would take again: "
        "set what `done` asks for, and look for triggers that set it back",
    )
