"""What is said while one waits: one line of a terminal, renewed; elsewhere a line now and then."""

import io

import pytest

from kiqstart.cli.status_line import StatusLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("kiqstart.cli.status_line.time.monotonic", lambda: now[0])
    return now


def seen_on(terminal: Terminal) -> str:
    """What the cursor's line shows at the end."""
    line = ""
    for part in terminal.getvalue().split("\r"):
        line = part + line[len(part) :]
    return line.rstrip()


def test_a_terminal_has_one_line_that_is_renewed_and_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    line = StatusLine()
    for text in ("a long thing that is said first", "short", "no worker takes it: " + "x" * 200):
        line.write(text)
        assert seen_on(terminal) == text[:79]
    line.clear()
    assert seen_on(terminal) == ""
    assert "\n" not in terminal.getvalue()


def test_elsewhere_what_stays_the_same_is_said_once_a_minute(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    line = StatusLine()
    for passed, text in ((0, "one"), (1, "one"), (5, "two"), (59, "two"), (1, "two")):
        clock[0] += passed
        line.write(text)
    line.clear()
    assert capsys.readouterr().err == "one\ntwo\ntwo\n"


def test_elsewhere_of_what_changes_quickly_a_line_is_said_every_five_seconds_and_the_last_one(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    line = StatusLine()
    for second in range(13):
        line.write(f"{second} of 13")
        clock[0] += 1
    line.clear()
    line.clear()
    assert capsys.readouterr().err == "0 of 13\n5 of 13\n10 of 13\n12 of 13\n"
