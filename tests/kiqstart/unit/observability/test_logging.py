import json
import logging
from collections.abc import Generator
from dataclasses import dataclass
from io import StringIO

import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy import text

from kiqstart.observability.log_formatter import HarmlessFormatter
from kiqstart.observability.logging import LogFormat, LogSettings, configure_logging
from kiqstart.observability.task_fields import current_run
from todo_service.infrastructure.database.engine import create_engine
from todo_service.infrastructure.database.settings import DatabaseSettings

PASSWORD = "s3cret-pw"
CARD = "4111111111111111"
URL = SecretStr(f"postgresql://shop:{PASSWORD}@127.0.0.1:1/shop")
ODD = "id\x1b[2J\n2026-11-29 [info] all is well\r\u202e"

logger = logging.getLogger("shop")


@pytest.fixture(params=[LogFormat.JSON, LogFormat.CONSOLE, None], ids=["json", "console", "plain"])
def log(request: pytest.FixtureRequest) -> Generator[StringIO]:
    """What is logged in each format; None is that of a worker whose module sets no log up."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    kind: LogFormat | None = request.param
    configure_logging(LogSettings(format=kind or LogFormat.CONSOLE))
    handler, written = root.handlers[0], StringIO()
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written)
    if kind is None:
        handler.setFormatter(HarmlessFormatter("%(levelname)s %(message)s"))
    yield written
    root.handlers[:], root.level = before, level


async def test_an_error_shows_neither_passwords_nor_local_variables(log: StringIO) -> None:
    async def charge(card_number: str) -> None:
        engine = create_engine(DatabaseSettings(database_url=URL))
        async with engine.connect() as connection:
            await connection.execute(text("SELECT :card"), {"card": card_number})

    try:
        await charge(CARD)
    except OSError:
        logger.exception("The card is not charged, at %s", URL.get_secret_value())
    written = log.getvalue()
    assert "ConnectionRefusedError" in written
    assert "charge" in written
    assert PASSWORD not in written
    assert CARD not in written


def test_what_comes_from_outside_is_one_harmless_line(log: StringIO, request: pytest.FixtureRequest) -> None:
    with structlog.contextvars.bound_contextvars(task_id=ODD):
        logger.info("Executing task %s", ODD)
    is_plain = "plain" in request.node.nodeid
    written = log.getvalue()
    assert written.count("\n") == 1
    assert written.rstrip("\n").isprintable()
    assert written.count("all is well") == (1 if is_plain else 2)


def test_the_text_of_an_error_is_harmless(log: StringIO) -> None:
    def fail() -> None:
        raise ValueError(ODD)

    try:
        fail()
    except ValueError:
        logger.exception("It failed", stack_info=True)
    assert all(line.isprintable() for line in log.getvalue().splitlines())
    assert "\x1b" not in log.getvalue()


@pytest.mark.parametrize("log", [LogFormat.JSON], indirect=True)
def test_values_beside_a_json_line_are_redacted_and_stay_json(log: StringIO) -> None:
    with structlog.contextvars.bound_contextvars(db_password=PASSWORD, nested={"token": 5, "url": [URL]}, odd="\udcff"):
        logger.info("password=%s", PASSWORD)
    line = json.loads(log.getvalue())
    assert line["event"] == "password=***"
    assert line["db_password"] == "***"
    assert line["nested"] == {"token": "***", "url": ["SecretStr('**********')"]}


@dataclass
class Run:
    task_name: str = "ship"
    task_id: str = "0123abc"


def sell(*, with_structlog: bool) -> None:
    """Log an error beside a local variable, in one of both ways."""
    card = CARD
    try:
        int(f"no number: {len(card)}")
    except ValueError:
        if with_structlog:
            structlog.get_logger("shop").exception("Sold", colour="red", db_password=PASSWORD)
        else:
            logger.exception("Sold", extra={"colour": "red", "db_password": PASSWORD})


@pytest.mark.parametrize("log", [LogFormat.JSON], indirect=True)
def test_structlogs_loggers_and_extra_have_the_same_fields_and_those_of_the_task(log: StringIO) -> None:
    token = current_run.set(Run())
    for with_structlog in (True, False):
        sell(with_structlog=with_structlog)
    current_run.reset(token)
    logger.info("after")
    one, other, after = (json.loads(line) for line in log.getvalue().splitlines())
    expected = {"event": "Sold", "level": "error", "logger": "shop", "colour": "red", "db_password": "***"}
    expected |= {"task_name": "ship", "task_id": "0123abc"}
    assert expected.items() <= one.items()
    assert one.keys() == other.keys() == {*expected, "timestamp", "exception"}
    assert {name: one[name] for name in expected} == {name: other[name] for name in expected}
    assert CARD not in log.getvalue()
    assert "task_id" not in after


def test_uvicorns_text_for_terminals_is_no_field(log: StringIO) -> None:
    logger.info("it runs", extra={"color_message": "it \x1b[1mruns\x1b[0m"})
    assert "it runs" in log.getvalue()
    assert "color" not in log.getvalue()


def test_a_traceback_that_another_handler_has_written_is_written_anew() -> None:
    error = ValueError("password=s3cret \x1b[2J")
    record = logging.LogRecord("any", logging.ERROR, "", 1, "it fails", (), (ValueError, error, None))
    other = logging.Formatter()
    first = other.format(record)
    assert "s3cret" in first
    written = HarmlessFormatter("%(message)s").format(record)
    assert "ValueError: password=*** \\x1b[2J" in written
    assert "s3cret" not in written
    assert other.format(record) == first
