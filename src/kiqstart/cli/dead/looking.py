"""`kiqstart dead list` and `kiqstart dead show`."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kiqstart.broker.dead_letters import DeadLetter
from kiqstart.cli.application import stream_broker
from kiqstart.cli.dead.selection import check_reason
from kiqstart.cli.terminal import echo, shown, shown_lines

# Where the output is no terminal, nobody's window limits it.
_WIDTH_OF_A_FILE: Final = 200
_LONGEST_CELL: Final = 400
_TITLES: Final = ("id", "last", "reason", "deliveries", "task")


def run_list(*, task: str | None, reason: str | None, limit: int) -> None:
    """Print the table, and how many letters there are and were dropped.

    Raises:
        SelectionError: there is no such reason.
    """
    check_reason(reason)
    letters, count, dropped = asyncio.run(_list(task, reason, limit))
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH_OF_A_FILE)
    if letters:
        console.print(letters_table(letters))
    lost = f"; {dropped} were dropped: too old, too many or too large" if dropped else ""
    echo(f"{len(letters)} of {count} dead letters{lost}")


def run_show(letter: str) -> None:
    """Print all of a letter.

    Raises:
        DeadLetterNotFoundError: there is none.
    """
    echo(shown_letter(asyncio.run(_get(letter))))


def letters_table(letters: Sequence[DeadLetter]) -> Table:
    """A row for each letter, below its task's name what went wrong."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), expand=True)
    *facts, task = _TITLES
    for title in facts:
        table.add_column(title, no_wrap=True)
    # This one gives way to a narrow window: an id that is cut is of no use.
    table.add_column(task, no_wrap=True, overflow="ellipsis", ratio=1)
    for letter in letters:
        cells = (
            letter.id,
            f"{letter.last.astimezone():%m-%d %H:%M:%S}",
            shown(letter.reason),
            str(letter.deliveries),
            f"{_shown_task(letter)[:_LONGEST_CELL]}\n{shown_problem(letter.detail)}",
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def shown_problem(detail: str) -> str:
    """One line of a detail: the error of a traceback, else the first line."""
    lines = [line for line in detail.split("\n") if line.strip()] or [""]
    # The error's line is the first after the last frame, also where its text has several lines.
    frames = [place for place, line in enumerate(lines) if line.startswith('  File "')]
    after = [line for line in lines[frames[-1] :] if not line.startswith(" ")] if frames else []
    line = after[0] if after else lines[0]
    return shown(line.strip()[:_LONGEST_CELL])


def shown_letter(letter: DeadLetter) -> str:
    """All of a letter, its message as indented JSON where it is JSON."""
    facts = {
        "id": letter.id,
        "task": _shown_task(letter),
        "task id": letter.task_id or "-",
        "queue": letter.queue,
        "reason": letter.reason,
        "deliveries": str(letter.deliveries),
        "first": _shown_time(letter.first),
        "last": _shown_time(letter.last),
    }
    lines = [f"{name:10}  {shown(value)}" for name, value in facts.items()]
    message = shown_lines(_indented(letter.data)) if letter.data else "-"
    return "\n".join([*lines, "", "message", message, "", "detail", shown_lines(letter.detail.rstrip()) or "-"])


def _shown_task(letter: DeadLetter) -> str:
    return shown(letter.task_name) if letter.task_name is not None else "(no task)"


def _indented(data: bytes) -> str:
    try:
        return json.dumps(json.loads(data), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return data.decode(errors="backslashreplace")


def _shown_time(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S %Z}"


async def _list(task: str | None, reason: str | None, limit: int) -> tuple[Sequence[DeadLetter], int, int]:
    async with stream_broker() as broker:
        dead, found = broker.dead_letters, list[DeadLetter]()
        async with aclosing(dead.walk(reason=reason, task_name=task)) as letters:
            async for letter in letters:
                if len(found) >= limit:
                    break
                # Messages may be large, and the table shows none.
                found.append(replace(letter, data=b"", detail=shown_problem(letter.detail)))
        return found, await dead.count(), await dead.dropped()


async def _get(letter: str) -> DeadLetter:
    async with stream_broker() as broker:
        return await broker.dead_letters.get(letter)
