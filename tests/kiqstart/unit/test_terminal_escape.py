import pytest

from kiqstart.observability.terminal_escape import escape, escape_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größer 日本 [red]", "größer 日本 [red]"),
        ("\x1b[31m\x00\x7f\x9b", r"\x1b[31m\x00\x7f\x9b"),
        ("one\ntwo\r", r"one\ntwo\r"),
        ("\u202egnp\u200b", r"\u202egnp\u200b"),
        ("\udcff", r"\udcff"),
    ],
)
def test_what_would_move_or_hide_is_escaped(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_lines_stay_lines() -> None:
    assert escape_lines("\tone\n  two\x1b\r\n") == "    one\n  two\\x1b\\r\n"
