import json
import logging
from collections.abc import Generator
from io import StringIO

import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy import text

from kiqstart.observability.log_formatter import HarmlessFormatter
from kiqstart.observability.logging import LogFormat, LogSettings, configure_logging
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
