"""What a failed statement means for a run."""

from collections.abc import Generator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Final

from sqlalchemy.exc import DBAPIError, InterfaceError, StatementError

from kiqstart.retention.errors import PolicyError

_LOCK_NOT_AVAILABLE: Final = "55P03"
_QUERY_CANCELED: Final = "57014"
_READ_ONLY_TRANSACTION: Final = "25006"  # a primary that has become a replica
# The server ends the connection: this process was frozen for long, or a transaction may not take so long.
_TIMED_OUT: Final = ("25P03", "25P04")
# Connection, too many connections, server going down or starting.
_LOST: Final = frozenset({"08", "53300", "57P01", "57P02", "57P03", _READ_ONLY_TRANSACTION, *_TIMED_OUT})
_OUT_OF_RESOURCES: Final = "53"  # disk, memory, connections
_ROLLED_BACK: Final = "40"  # deadlock, serialisation
NOT_OF_A_ROW: Final = frozenset({"0A", "25", "28", "3D", "42", "53", "57", "58", "F0", "XX"})
"""SQLSTATE classes that no single row is to blame for, so that smaller batches do not help.

Missing feature, transaction state, login, missing database, missing object or right, resources, operator intervention,
system, configuration, internal.
"""
# A statement that cannot be understood, or a value in it that cannot be sent.
_OF_THE_STATEMENT: Final = frozenset({"0A", "21", "22", "42"})


class Fault(Enum):
    """What to do about an error of the database."""

    LOST = auto()
    """The connection or the server is gone: wait, and look where the run stands."""
    LOCKED = auto()
    """Somebody else holds a lock."""
    SLOW = auto()
    """It took too long, or somebody cancelled it."""
    OF_A_ROW = auto()
    """A row cannot be deleted."""
    FATAL = auto()
    """Nothing that waiting or smaller batches would mend."""


def fault_of(error: DBAPIError | OSError) -> Fault:
    """Tell by the SQLSTATE (PostgreSQL's manual, appendix A)."""
    if isinstance(error, OSError):
        return Fault.LOST
    state: str | None = getattr(error.driver_exception, "sqlstate", None)
    if error.connection_invalidated or state is None:
        return Fault.LOST if error.connection_invalidated or isinstance(error, InterfaceError) else Fault.FATAL
    return fault_of_state(state)


def fault_of_state(state: str) -> Fault:
    """Tell by the SQLSTATE alone."""
    if state in _LOST or state[:2] in _LOST:
        return Fault.LOST
    if state == _LOCK_NOT_AVAILABLE or state[:2] == _ROLLED_BACK:
        return Fault.LOCKED
    if state == _QUERY_CANCELED:
        return Fault.SLOW
    return Fault.FATAL if state[:2] in NOT_OF_A_ROW else Fault.OF_A_ROW


def is_transient(error: DBAPIError | OSError) -> bool:
    """Whether what failed may go well a minute later: a server that is gone, locks, time-outs, resources that ran out.

    What is left is the statement, the schema, a right or a row, and stays as it is however often it is tried.
    """
    if fault_of(error) in {Fault.LOST, Fault.LOCKED, Fault.SLOW}:
        return True
    state: str = getattr(getattr(error, "driver_exception", None), "sqlstate", None) or ""
    return state[:2] == _OUT_OF_RESOURCES


def first_line(error: DBAPIError) -> str:
    """Return the error's message without its detail, hint and context."""
    return str(error.driver_exception).partition("\n")[0]


@contextmanager
def refused_by_server(policy: str) -> Generator[None]:
    """Say of which policy a statement is that cannot be sent, or that PostgreSQL does not understand.

    Raises:
        PolicyError: it is such a statement.
    """
    try:
        yield
    except DBAPIError as error:
        state: str | None = getattr(error.driver_exception, "sqlstate", None)
        if state is None or state[:2] not in _OF_THE_STATEMENT:
            raise
        raise PolicyError(policy, f"PostgreSQL cannot run its statement: {first_line(error)}") from None
    except StatementError as error:
        raise PolicyError(policy, f"its statement cannot be sent: {error.orig or error}") from None
