import traceback
from datetime import UTC, datetime

import pytest
from rich.console import Console

from kiqstart.broker.dead_letter import DeadLetter
from kiqstart.cli.dead.looking import letters_table, shown_letter
from kiqstart.operations.dead_letters import shown_problem

TIME = datetime(2026, 3, 1, 12, 30, 45, tzinfo=UTC)


def a_letter(*, task_name: str | None = "ping", detail: str = "", data: bytes = b"") -> DeadLetter:
    return DeadLetter(
        id="1795275439437-4",
        queue="{service}:tasks",
        task_id=None,
        task_name=task_name,
        reason="retries-exhausted",
        detail=detail,
        deliveries=12,
        first=TIME,
        last=TIME,
        data=data,
    )


def a_traceback(error: BaseException) -> str:
    error.__cause__ = KeyError("cause")
    with pytest.raises(type(error)) as caught:
        raise error
    return "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("detail", "line"),
    [
        ("", ""),
        ("its worker died\nmore", "its worker died"),
        (a_traceback(ValueError("first\nsecond")), "ValueError: first"),
        (a_traceback(ValueError("\x1b[2J")), r"ValueError: \x1b[2J"),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
    ],
)
def test_one_line_says_what_went_wrong(detail: str, line: str) -> None:
    assert shown_problem(detail) == line


@pytest.mark.parametrize("width", [80, 120])
def test_a_table_cuts_a_long_problem_and_nothing_else(width: int) -> None:
    name = "[bold]" + "name." * 12
    letter = a_letter(task_name=name, detail="x" * 10_000)
    console = Console(width=width)
    with console.capture() as captured:
        console.print(letters_table([letter, letter]))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) == width
    rows = [place for place, line in enumerate(lines) if line.startswith(letter.id)]
    assert len(rows) == 2
    for place, end in zip(rows, [rows[1], len(lines)], strict=True):
        _, _, _, first = lines[place].split()
        reason, deliveries, *second = lines[place + 1].split()
        assert (reason, deliveries) == ("retries-exhausted", "12")
        *rest, problem = [*second, *(line.strip() for line in lines[place + 2 : end])]
        assert "".join([first, *rest]) == name
        assert problem.startswith("xxx")
        assert problem.endswith("…")


def test_what_went_wrong_is_to_be_read_in_a_window_of_80_characters() -> None:
    console = Console(width=80)
    problem = "ValueError: customer 4711 has no address"
    with console.capture() as captured:
        console.print(letters_table([a_letter(detail=problem)]))
    assert problem in captured.get()


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b'{"args": [1, "\\u001b"]}', '{\n  "args": [\n    1,\n    "\\u001b"\n  ]\n}'),
        (b"\xff\x1b", r"\xff\x1b"),
        (b"[" * 100_000, "[" * 100),
        (b"", "\nmessage\n-\n"),
    ],
)
def test_a_message_is_shown_whatever_it_is(data: bytes, shown: str) -> None:
    assert shown in shown_letter(a_letter(data=data))
