"""The last lines that were logged: never more than has room, and harmless to read."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.odd import ANY_TEXTS

from kiqstart.observability.kept_lines import KeptLines, line_of


def record(message: object, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("shop").makeRecord("shop", logging.WARNING, "shop.py", 7, message, args, None, extra=extra)
    made.created, made.msecs = 1_700_000_000.25, 250.0
    return made


@given(lines=st.lists(ANY_TEXTS, max_size=30), most=st.integers(min_value=1, max_value=200))
def test_the_last_lines_are_kept_and_no_more_bytes_than_have_room(lines: list[str], most: int) -> None:
    kept = KeptLines(most)
    for line in lines:
        kept.add(line)
    assert kept.size <= max(most, 4)
    text = kept.text().decode()
    whole = "\n".join(lines).encode(errors="backslashreplace").decode()
    if len(whole.encode()) < most:
        assert text == whole
    elif lines:
        last = text.split(" earlier lines are not kept)\n")[-1].rstrip("…")
        assert last.split("\n")[-1] in whole
        assert len(last.encode()) <= max(most, 4)


def test_what_had_no_room_is_counted() -> None:
    kept = KeptLines(40)
    for number in range(10):
        kept.add(f"this is line {number}")
    assert kept.text().decode() == "(8 earlier lines are not kept)\nthis is line 8\nthis is line 9"
    kept.add("é" * 100)
    first, last = kept.text().decode().split("\n")
    assert first == "(10 earlier lines are not kept)"
    assert last == "é" * 18 + "…"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (record("Hello, %s", "Ada"), "Hello, Ada"),
        (record("Hello", order=7, task_id="an-id", task_name="greet", trace_id="f"), "Hello order=7"),
        (record("Hello\x1b[2J\nthere", password="hidden"), r"Hello\x1b[2J\nthere password=***"),
        (record("to redis://me:guess@host"), "to redis://me:***@host"),
        (
            record({"event": "Hello", "order": 7, "level": "info", "logger": "shop", "timestamp": "now"}),
            "Hello order=7",
        ),
        (
            record({"event": "Hello", "token": "hidden", "task_id": "an-id"}, _logger=None, _name="shop"),
            "Hello token=***",
        ),
    ],
)
def test_a_line_has_its_time_its_logger_and_its_own_fields(given: logging.LogRecord, line: str) -> None:
    assert line_of(given, 4096) == f"22:13:20.250Z WARNING shop: {line}"


def failure() -> ImportError:
    with pytest.raises(ImportError) as caught:
        __import__("no-such-module\x1b[2J token=hidden7")
    return caught.value


@pytest.mark.parametrize("form", ["standard", "structlog's", "structlog's error", "structlog's tuple"])
def test_an_error_has_its_traceback(form: str) -> None:
    error = failure()
    exc_info = type(error), error, error.__traceback__
    if form == "standard":
        made = record("Failed")
        made.exc_info = exc_info
    else:
        made = record({"event": "Failed", "exc_info": {"error": error, "tuple": exc_info}.get(form[12:], True)})
    try:
        raise error
    except ImportError:
        first, second, *_, last = line_of(made, 4096).split("\n")
    assert first.endswith(" shop: Failed")
    assert second == "Traceback (most recent call last):"
    assert last == r"ModuleNotFoundError: No module named 'no-such-module\x1b[2J token=***'"


def test_of_a_huge_message_a_part_is_looked_at() -> None:
    line = line_of(record("x" * 10_000_000), 100)
    assert len(line) < 200
