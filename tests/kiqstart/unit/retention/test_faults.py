import pytest
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.exc import DBAPIError, InterfaceError

from kiqstart.retention.faults import Fault, fault_of, first_line


class DriverError(Exception):
    def __init__(self, message: str, state: str | None) -> None:
        super().__init__(message)
        self.sqlstate = state


def database_error(state: str | None, message: str = "said") -> DBAPIError:
    return DBAPIError("DELETE", None, translated(AsyncAdapt_asyncpg_dbapi.Error, DriverError(message, state)))


def translated(kind: type[Exception], error: Exception) -> Exception:
    """Return what SQLAlchemy makes of an error of asyncpg."""
    return kind(str(error), error)


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        pytest.param("08006", Fault.LOST, id="connection failure"),
        pytest.param("08P01", Fault.LOST, id="protocol violation"),
        pytest.param("53300", Fault.LOST, id="too many connections"),
        pytest.param("57P01", Fault.LOST, id="admin shutdown"),
        pytest.param("57P02", Fault.LOST, id="crash shutdown"),
        pytest.param("57P03", Fault.LOST, id="cannot connect now"),
        pytest.param("25006", Fault.LOST, id="read-only transaction"),
        pytest.param("25P03", Fault.LOST, id="idle in transaction"),
        pytest.param("55P03", Fault.LOCKED, id="lock not available"),
        pytest.param("40P01", Fault.LOCKED, id="deadlock"),
        pytest.param("40001", Fault.LOCKED, id="serialisation"),
        pytest.param("57014", Fault.SLOW, id="query cancelled"),
        pytest.param("23503", Fault.OF_A_ROW, id="foreign key"),
        pytest.param("P0001", Fault.OF_A_ROW, id="raised by a trigger"),
        pytest.param("22012", Fault.OF_A_ROW, id="division by zero"),
        pytest.param("42501", Fault.FATAL, id="insufficient privilege"),
        pytest.param("42P01", Fault.FATAL, id="undefined table"),
        pytest.param("3D000", Fault.FATAL, id="no such database"),
        pytest.param("28P01", Fault.FATAL, id="invalid password"),
        pytest.param("53100", Fault.FATAL, id="disk full"),
        pytest.param("25P02", Fault.FATAL, id="failed transaction"),
        pytest.param("XX001", Fault.FATAL, id="data corrupted"),
        pytest.param(None, Fault.FATAL, id="no state"),
    ],
)
def test_the_sqlstate_tells_what_to_do(state: str | None, fault: Fault) -> None:
    assert fault_of(database_error(state)) is fault


def test_a_connection_that_broke_is_lost_whatever_it_said() -> None:
    for state in (None, "23503"):
        error = database_error(state)
        error.connection_invalidated = True
        assert fault_of(error) is Fault.LOST
    closed = translated(AsyncAdapt_asyncpg_dbapi.InterfaceError, DriverError("connection is closed", None))
    assert fault_of(InterfaceError("DELETE", None, closed)) is Fault.LOST
    assert fault_of(ConnectionRefusedError()) is Fault.LOST
    assert fault_of(TimeoutError()) is Fault.LOST


def test_a_report_has_the_first_line_of_an_error() -> None:
    assert first_line(database_error("23503", "may not go\nDETAIL: secret")) == "may not go"
