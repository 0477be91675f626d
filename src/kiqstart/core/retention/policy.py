"""What a run deletes."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute

from kiqstart.core.retention.walks import Walk


@dataclass(frozen=True, kw_only=True)
class RetentionPolicy:
    """Which rows go, and how the engine goes through the table.

    Args:
        name: names the run in reports and logs.
        model: the mapped class whose rows are deleted.
        predicate: true for the rows to delete. It may look at other tables through `EXISTS` or `IN`; each DELETE
            repeats it, so a row for which it became false in the meantime is kept.
        walk: `KeyRange` where an index leads to the rows, `HeapPages` where none does.
        error_key: the columns by which a row that cannot be deleted is reported.
    """

    name: str
    model: type[DeclarativeBase]
    predicate: ColumnElement[bool]
    walk: Walk
    # A column of any type, and of several types side by side.
    error_key: tuple[InstrumentedAttribute[Any], ...]
