"""What a run deletes."""

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, cast

from sqlalchemy import BinaryExpression, BooleanClauseList, Column, ColumnElement, Null, Table, and_
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute
from sqlalchemy.sql import operators

from kiqstart.retention.ceilings import Ceilings, DailyWindow
from kiqstart.retention.conjuncts import opaque
from kiqstart.retention.errors import PolicyError
from kiqstart.retention.newest import check_own_rows
from kiqstart.retention.row_update import RowUpdate
from kiqstart.retention.target import TargetError, check_rows, column_of, mapper_of, rows_of, table_of


class ScanKind(StrEnum):
    """The ways through a table: along an index on the cursor, or along the heap's pages."""

    KEY = "key"
    PAGES = "pages"

    @property
    def described(self) -> str:
        """What a run goes along, in words."""
        return "index on its cursor" if self is ScanKind.KEY else "heap's pages"


class PaceKind(StrEnum):
    """How considerate a run is: with rests, and more of them when others suffer, or none."""

    GENTLE = "gentle"
    FULL = "full"


class PartitionAction(StrEnum):
    """What becomes of a partition that has expired: all rows that it could have are the policy's."""

    DETACH = "detach"
    DROP = "drop"


@dataclass(frozen=True, kw_only=True)
class RetentionPolicy:
    """Which rows go, and how the engine goes through the table.

        RetentionPolicy(
            name="expired_tokens",
            model=AccessToken,
            predicate=AccessToken.expires_at < cutoff,
            cursor=(AccessToken.expires_at,),
        )

    Args:
        name: names the policy in reports, logs, and among the runs that can be resumed.
        model: the mapped class whose rows are deleted.
        predicate: true for the rows to delete. It may look at other tables through `EXISTS` or `IN`; each DELETE
            repeats it, so a row for which it became false in the meantime is kept.
        cursor: the columns that an index leads along, the first of which the index must begin with; equal values are
            told apart by the primary key. Without a cursor the engine goes along the heap's pages, for which no index
            is needed.
        scan: the way through the table; None lets the engine choose it for each run from PostgreSQL's statistics.
        error_key: columns by which rows that cannot be deleted are grouped in the report, beside the primary key of
            the first; none for one entry per row.
        archive: a mapped class of the same columns, into whose table the rows are written as they are deleted.
        update: what becomes of the rows instead of their deletion; the policy then names those not done yet.
        partitions: what becomes of whole partitions that have expired, of a table that is partitioned by range on the
            cursor's first column; None to delete their rows like others.
        pace: how considerate its runs are; None for what the settings say.
        window: the time of day in which it may run: outside it a run stops, and the next one goes on.
        ceilings: what its runs may do at most.
    """

    name: str
    model: type[DeclarativeBase]
    predicate: ColumnElement[bool]
    # Columns of any type, and of several types side by side.
    cursor: tuple[InstrumentedAttribute[Any], ...] = ()
    scan: ScanKind | None = None
    error_key: tuple[InstrumentedAttribute[Any], ...] = ()
    archive: type[DeclarativeBase] | None = None
    update: RowUpdate | None = None
    partitions: PartitionAction | None = None
    pace: PaceKind | None = None
    window: DailyWindow | None = None
    ceilings: Ceilings = field(default_factory=Ceilings)

    @cached_property
    def table(self) -> Table[Any]:
        """The table whose rows are deleted."""
        return table_of(self.model)

    @cached_property
    def rows(self) -> ColumnElement[bool]:
        """True for the rows to delete: of the table's rows those of the class, and of these what the predicate names.

        Whatever counts, finds or deletes rows has this in its WHERE, and the table alone in its FROM.
        """
        return rows_of(self.model, self.condition)

    @cached_property
    def row_filter(self) -> ColumnElement[bool]:
        """The same in a form that no index answers, for statements whose plan other conditions choose."""
        return opaque(self.rows)

    @property
    def condition(self) -> ColumnElement[bool]:
        """The predicate, of rows that are updated only those that are not done."""
        return self.predicate if self.update is None else and_(self.predicate, self.update.done.is_not(True))

    @property
    def deletes(self) -> bool:
        """Whether the rows go, or are updated."""
        return self.update is None

    @cached_property
    def primary_key(self) -> tuple[Column[Any], ...]:
        """The columns of the primary key."""
        return tuple(column_of(self.model, column) for column in mapper_of(self.model).primary_key)

    @cached_property
    def key(self) -> tuple[Column[Any], ...]:
        """The cursor, completed by the primary key so that no two rows are equal in it."""
        cursor = self.columns(self.cursor)
        return cursor + tuple(column for column in self.primary_key if column not in set(cursor))

    @property
    def action(self) -> str:
        """What becomes of the rows, as a verb."""
        return "update" if self.update is not None else "archive and delete" if self.archive is not None else "delete"

    @cached_property
    def archive_table(self) -> Table[Any] | None:
        """The table that takes the deleted rows, if any."""
        return None if self.archive is None else table_of(self.archive)

    def columns(self, attributes: tuple[InstrumentedAttribute[Any], ...]) -> tuple[Column[Any], ...]:
        """Return the table's columns behind attributes, each once."""
        return tuple(dict.fromkeys(column_of(self.model, one) for one in attributes))

    def check(self) -> None:
        """Return if the policy can be run at all; what the database has to say is checked elsewhere.

        Raises:
            PolicyError: what is wrong with it.
        """
        try:
            check_rows(self.model, self.predicate)
            check_own_rows(self.table, self.predicate, deletes=self.deletes)
            self.columns((*self.cursor, *self.error_key))
            self._check_action()
            self.ceilings.check()
            if self.window is not None:
                self.window.check()
        except TargetError as error:
            raise PolicyError(self.name, str(error)) from None
        if self.scan is ScanKind.KEY and not self.cursor:
            raise PolicyError(
                self.name, "a scan along a key needs a cursor: name the columns that its index begins with"
            )
        for column in self.columns(self.cursor):
            if column.nullable and not self.excludes_null(column):
                raise PolicyError(
                    self.name,
                    f"column {column.name!r} may be NULL, and a cursor never comes to such rows: "
                    f"add `{column.name} IS NOT NULL` to the predicate, or leave the cursor out",
                )

    def _check_action(self) -> None:
        if self.archive is not None:
            table_of(self.archive)
        if self.update is not None:
            self.update.check(self.model)
        if self.archive is not None and self.update is not None:
            raise TargetError("rows that are updated stay, so there is nothing to archive: drop `archive` or `update`")

    def excludes_null(self, column: Column[Any]) -> bool:
        """Whether the predicate says itself that a column is not NULL."""
        return _excludes_null(self.predicate, column)


_COMPARISONS: Final = frozenset({operators.lt, operators.le, operators.gt, operators.ge, operators.eq})


def _excludes_null(predicate: ColumnElement[bool], column: Column[Any]) -> bool:
    """Whether the predicate is, or joins by AND, a comparison of the column, which is never true of NULL."""
    if isinstance(predicate, BooleanClauseList) and predicate.operator is operators.and_:
        return any(_excludes_null(cast("ColumnElement[bool]", clause), column) for clause in predicate.clauses)
    if not isinstance(predicate, BinaryExpression):
        return False
    left, right = cast("tuple[ColumnElement[Any], ...]", (predicate.left, predicate.right))
    if predicate.operator is operators.is_not:
        # `flag IS NOT TRUE` is true of NULL.
        return _is(left, column) and isinstance(right, Null)
    return predicate.operator in _COMPARISONS and (_is(left, column) or _is(right, column))


def _is(element: ColumnElement[Any], column: Column[Any]) -> bool:
    # A mapped attribute's column is another object, which its table knows all the same.
    return isinstance(element, Column) and element.name == column.name and column.table.columns.contains_column(element)
