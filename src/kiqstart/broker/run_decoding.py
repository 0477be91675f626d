"""Reads what a worker has written of runs that have ended, whatever is there."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, islice, pairwise
from typing import TYPE_CHECKING, Final, Literal, cast

import pydantic_core

from kiqstart.broker.letter_text import error_line
from kiqstart.broker.redis_text import text_of_name
from kiqstart.broker.run_record import FACTS, IN_COMMON, LETTERS
from kiqstart.broker.run_stats import Outcome
from kiqstart.tasks.labels import SCHEDULE_ID_LABEL
from kiqstart.tasks.sealing.errors import UnreadableSecretError
from kiqstart.tasks.sealing.secrets import ENCRYPTED, NO_SECRETS, Secrets

if TYPE_CHECKING:
    import re

_OUTCOMES: Final = {letter.encode(): outcome for outcome, letter in LETTERS.items()}
_MESSAGE_SIZE: Final = 6
"""Which of the facts that is."""
_CUT: Final = "…"
# What can be shown in any time zone: about the year 9990.
_LAST_MS: Final = 253_000_000_000_000


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a task that has ended.

    Args:
        id: names this run.
        task_id: its task's; None where the message could not be read.
        task: the task's name; None where the message could not be read.
        arguments: as the call was written, as far as they are kept.
        queue: where it waited.
        outcome: how it ended.
        sent: when it was first sent, or when this try was.
        began: when its function began; None where it did not run.
        ended: when that was settled.
        seconds: that its function took.
        attempt: which try it was, from 1 on.
        crashes: workers that had died while they had it.
        worker: the name of its worker in Redis.
        host: the worker's.
        pid: the worker's.
        schedule: the schedule that has sent it; None where none has.
        result: what it returned, as JSON, as far as it is kept; None where it has failed.
        error: what it raised, in one line; None where it has raised nothing.
        traceback: the end of it; '' where none is kept.
    """

    id: str
    task_id: str | None
    task: str | None
    arguments: str
    queue: str
    outcome: Outcome
    sent: datetime
    began: datetime | None
    ended: datetime
    seconds: float
    attempt: int
    crashes: int
    worker: str
    host: str
    pid: int
    schedule: str | None
    result: str | None
    error: str | None
    traceback: str


def runs_of(
    entry: bytes,
    fields: Mapping[bytes, bytes],
    secrets: Secrets = NO_SECRETS,
    may_fit: Callable[[bytes], bool] | None = None,
) -> list[Run]:
    """The runs of a block, oldest first; of what is none of ours, or of another version, nothing.

    Args:
        entry: its id: how many runs there ever were, and when these ended.
        fields: of the entry.
        secrets: decrypts what is encrypted.
        may_fit: whether a run is wanted, by what is written of it: the block's first line, then its own part; others
            are passed over. What it says of the whole block holds for all that are in it.
    """
    block = fields.get(b"runs", b"")
    in_common, ended = IN_COMMON.match(block), ended_at(entry)
    if in_common is None or ended is None or (may_fit is not None and not may_fit(block)):
        return []
    return [
        _run(f"{entry.decode()}.{place}", ended, in_common, facts, block, secrets)
        for place, facts in enumerate(_facts_in(block, in_common.end()))
        if may_fit is None or may_fit(in_common[0] + block[facts.start() : _end_of(facts)])
    ]


def ended_at(entry: bytes) -> datetime | None:
    """When the runs of a block ended, by its id; None where Python has no such time."""
    return _time(int(entry.partition(b"-")[2]))


def message_in(fields: Mapping[bytes, bytes], place: int) -> bytes:
    """What is kept of the message of a run, as it came; nothing where there is no such run.

    Args:
        fields: of its block's entry.
        place: its own there, from 0 on.
    """
    block = fields.get(b"runs", b"")
    in_common = IN_COMMON.match(block)
    if in_common is None:
        return b""
    facts = next(islice(_facts_in(block, in_common.end()), place, None), None)
    return b"" if facts is None else block[facts.end() : facts.end() + int(facts[_MESSAGE_SIZE])]


def _facts_in(block: bytes, at: int) -> "Iterator[re.Match[bytes]]":
    """The facts of each run that is whole."""
    while facts := FACTS.match(block, at):
        at = _end_of(facts)
        if at > len(block):
            return
        yield facts


def _end_of(facts: "re.Match[bytes]") -> int:
    return facts.end() + sum(map(int, facts.groups()[-3:]))


def _run(
    name: str,
    ended: datetime,
    in_common: "re.Match[bytes]",
    facts: "re.Match[bytes]",
    block: bytes,
    secrets: Secrets,
) -> Run:
    sent, began, micros, attempt, crashes, *sizes = map(int, facts.groups())
    places = accumulate(sizes, initial=facts.end())
    data, result, problem = (block[first:last] for first, last in pairwise(places))
    if _is_whole(data):
        data = secrets.shown_message(data)
    message, traceback = _object(data), secrets.show_detail(problem).decode(errors="replace")
    returned = _returned(result, _text_in(message, "task_id") or "", secrets)
    # The last text of a message that was cut is not whole, and may be a name.
    names = message if _is_whole(data) else _object(data, partial=True)
    return Run(
        id=name,
        task_id=_text_in(names, "task_id"),
        task=_text_in(names, "task_name"),
        arguments=_arguments(message, is_cut=not _is_whole(data)),
        queue=text_of_name(in_common[2]),
        outcome=_OUTCOMES[in_common[1]],
        sent=_time(sent) or ended,
        began=_time(began) if began else None,
        ended=ended,
        seconds=micros / 1e6,
        attempt=attempt,
        crashes=crashes,
        worker=text_of_name(in_common[3]),
        host=text_of_name(in_common[4]),
        pid=int(in_common[5]),
        schedule=_text_in(_mapping(message.get("labels")), SCHEDULE_ID_LABEL),
        result=_result(returned, is_cut=not _is_whole(result)),
        error=(error_line(traceback) or None) if traceback else _error(returned),
        traceback=traceback,
    )


def _object(data: bytes, *, partial: Literal[True, "trailing-strings"] = "trailing-strings") -> Mapping[str, object]:
    """A JSON object, or what its first bytes have of it, a text that was cut included."""
    try:
        return _mapping(pydantic_core.from_json(data, allow_partial=partial))
    except ValueError:
        return {}


def _is_whole(data: bytes) -> bool:
    # What was cut does not end with it, but for a chance in which only a mark is missing.
    return data.endswith(b"}")


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def _text_in(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) else None


def _returned(result: bytes, task_id: str, secrets: Secrets) -> Mapping[str, object]:
    try:
        return _object(secrets.show_result(task_id, result))
    except UnreadableSecretError:
        return _object(result)


def _arguments(message: Mapping[str, object], *, is_cut: bool) -> str:
    if ENCRYPTED in message or message.get("arguments") == ENCRYPTED:
        return ENCRYPTED
    args, kwargs = message.get("args"), _mapping(message.get("kwargs"))
    written = [_json(value) for value in cast("list[object]", args)] if isinstance(args, list) else []
    written += [f"{name}={_json(value)}" for name, value in kwargs.items()]
    return ", ".join([*written, *([_CUT] if is_cut else [])])


def _result(returned: Mapping[str, object], *, is_cut: bool) -> str | None:
    if returned.get("is_err") is not False:
        return None
    if "return_value" not in returned:
        return ENCRYPTED if ENCRYPTED in returned else None
    return _json(returned["return_value"]) + (_CUT if is_cut else "")


def _error(returned: Mapping[str, object]) -> str | None:
    if ENCRYPTED in returned:
        return ENCRYPTED if returned.get("is_err") is True else None
    error = _mapping(returned.get("error"))
    kind, text = _text_in(error, "exc_type"), _text_in(error, "text")
    return None if kind is None else f"{kind}: {text}" if text else kind


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _time(milliseconds: int) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds < _LAST_MS else None
