"""`kiqstart dead list` and `kiqstart dead show`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.dead_letter import DeadLetter
from kiqstart.cli.application import on_broker
from kiqstart.cli.local_times import shown_moment, zoned
from kiqstart.cli.tables import new_table, print_table
from kiqstart.cli.terminal import echo, echo_json, shown, shown_lines
from kiqstart.observability.redaction import redacted
from kiqstart.operations.dead_letters import FoundLetters, find_letter, indented, read_letters, shown_problem
from kiqstart.operations.dead_selection import Filters, check_reason
from kiqstart.operations.numbers import counted

# Where the output is no terminal, nobody's window limits it.
_LONGEST_CELL: Final = 400
_TOTALS_SHOWN: Final = 20


def run_list(*, task: str | None, reason: str | None, limit: int, as_json: bool) -> None:
    """Print the table, and how many letters there are and were dropped.

    Raises:
        SelectionError: there is no such reason.
    """
    check_reason(reason)
    found = _list(task, reason, limit)
    if as_json:
        echo_json(_list_as_json(found))
        return
    if found.letters:
        print_table(letters_table(found.letters))
        for line in shown_totals(found.totals):
            echo(line)
    lost = f"; {found.dropped} were dropped: too old, too many or too large" if found.dropped else ""
    echo(f"{len(found.letters)} of {counted(found.count, 'dead letter')}{lost}")


def run_show(letter: str, *, as_json: bool) -> None:
    """Print all of a letter, or of the newest one of a task.

    Raises:
        DeadLetterNotFoundError: there is none.
    """
    found = _get(letter)
    if as_json:
        echo_json({**letter_as_json(found), "detail": found.detail, "message": _message_as_json(found.data)})
    else:
        echo(shown_letter(found))


def letter_as_json(letter: DeadLetter) -> dict[str, object]:
    """A letter as `--json` has it in a list."""
    return {
        "id": letter.id,
        "task": letter.task_name,
        "task_id": letter.task_id,
        "queue": letter.queue,
        "reason": letter.reason,
        "deliveries": letter.deliveries,
        "first": letter.first.isoformat(),
        "last": letter.last.isoformat(),
        "problem": shown_problem(letter.detail),
    }


def shown_totals(totals: Mapping[tuple[str, str], int]) -> Iterator[str]:
    """A line for each task and reason, the most frequent first."""
    ordered = sorted(totals.items(), key=lambda one: -one[1])
    yield ""
    for (task, reason), count in ordered[:_TOTALS_SHOWN]:
        yield f"{count:>7}  {shown(reason):17}  {shown(task) or '(no task)'}"
    if rest := ordered[_TOTALS_SHOWN:]:
        yield f"{sum(count for _, count in rest):>7}  of {len(rest)} other tasks and reasons"
    yield ""


def letters_table(letters: Sequence[DeadLetter]) -> Table:
    """A row for each letter, below its task's name what went wrong."""
    table = new_table(expand=True)
    # Two facts in a cell leave room for what went wrong in a window of 80 characters.
    for title in ("id\n  reason", f"{zoned('last')}\n  deliveries"):
        table.add_column(title, no_wrap=True)
    # This one gives way to a narrow window: an id that is cut is of no use. Of a name no letter is lost.
    table.add_column("task", ratio=1)
    for letter in letters:
        cells = (f"{letter.id}\n  {shown(letter.reason)}", f"{shown_moment(letter.last)}\n  {letter.deliveries}")
        name = Text(_shown_task(letter)[:_LONGEST_CELL], overflow="fold")
        problem = Text(shown_problem(letter.detail), no_wrap=True, overflow="ellipsis")
        table.add_row(*map(Text, cells), Group(name, problem))
    return table


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
    message = shown_lines(indented(letter.data)) if letter.data else "-"
    return "\n".join([*lines, "", "message", message, "", "detail", shown_lines(letter.detail.rstrip()) or "-"])


def _shown_task(letter: DeadLetter) -> str:
    return shown(letter.task_name) if letter.task_name is not None else "(no task)"


def _shown_time(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S %Z}"


def _list_as_json(found: FoundLetters) -> dict[str, object]:
    totals = sorted(found.totals.items(), key=lambda one: -one[1])
    return {
        "letters": [letter_as_json(one) for one in found.letters],
        "totals": [{"task": task or None, "reason": reason, "count": count} for (task, reason), count in totals],
        "count": found.count,
        "dropped": found.dropped,
    }


def _message_as_json(data: bytes) -> object:
    """The message, or its text where it is no JSON."""
    try:
        return redacted(json.loads(data))
    except (ValueError, RecursionError):
        return data.decode(errors="backslashreplace")


@on_broker
async def _list(broker: StreamBroker, task: str | None, reason: str | None, limit: int) -> FoundLetters:
    return await read_letters(broker.dead_letters, Filters(task=task, reason=reason), limit=limit)


@on_broker
async def _get(broker: StreamBroker, letter: str) -> DeadLetter:
    found = await find_letter(broker.dead_letters, letter)
    return replace(found, data=broker.dead_letters.shown_message(found))
