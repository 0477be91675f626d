"""Reads what a worker has written of runs that have ended, whatever is there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import accumulate, islice, pairwise
from typing import TYPE_CHECKING, Final

from kiqstart.broker.argument_values import NO_VALUES, ArgumentValues
from kiqstart.broker.letter_text import error_line
from kiqstart.broker.message_view import CUT, as_text, view_of
from kiqstart.broker.partial_json import beginning_of_object, is_whole, mapping_of, text_in
from kiqstart.broker.redis_text import text_of_name, time_of
from kiqstart.broker.run_record import FACTS, IN_COMMON, LETTERS
from kiqstart.broker.run_stats import Outcome
from kiqstart.tasks.sealing.errors import UnreadableSecretError
from kiqstart.tasks.sealing.secrets import ENCRYPTED, NO_SECRETS, Secrets

if TYPE_CHECKING:
    import re

_OUTCOMES: Final = {letter.encode(): outcome for outcome, letter in LETTERS.items()}
_MESSAGE_SIZE: Final = 5
"""Which of the facts that is."""
_LONGEST_HEAD: Final = 4096


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
        sent_by: the id of the task that has sent it; None where none has.
        result: what it returned, as JSON, as far as it is kept; None where it has failed.
        error: what it raised, in one line; None where it has raised nothing.
        traceback: the end of it; '' where none is kept.
        log: the last lines that it has logged; '' where there are none.
        values: of the arguments.
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
    sent_by: str | None
    result: str | None
    error: str | None
    traceback: str
    log: str
    values: ArgumentValues = field(default=NO_VALUES, repr=False, compare=False)


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
        for place, (facts, _, end) in enumerate(_facts_in(block, in_common.end()))
        if may_fit is None or may_fit(in_common[0] + block[facts.start() : end])
    ]


def ended_at(entry: bytes) -> datetime | None:
    """When the runs of a block ended, by its id; None where Python has no such time."""
    return time_of(int(entry.partition(b"-")[2]))


def head_of(block: bytes) -> tuple[Outcome, str, int] | None:
    """How the runs of a block ended, their queue, and where they begin; None where it is none of ours."""
    end = block.find(b"\n", 0, _LONGEST_HEAD) + 1
    head = _read_head(block[:end])
    return None if head is None else (*head, end)


def message_in(block: bytes, place: int) -> bytes:
    """What is kept of the message of a run, as it came; nothing where there is no such run.

    Args:
        block: of runs.
        place: its own there, from 0 on.
    """
    head = head_of(block)
    start, end = (0, 0) if head is None else next(islice(messages_in(block, head[2]), place, None), (0, 0))
    return block[start:end]


def messages_in(block: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Where what is kept of the message of each run, as it came, begins and ends.

    Args:
        block: of runs.
        start: where the first one begins.
    """
    for facts, end_of_message, _ in _facts_in(block, start):
        yield facts.end(), end_of_message


@lru_cache(maxsize=256)
def _read_head(line: bytes) -> tuple[Outcome, str] | None:
    in_common = IN_COMMON.fullmatch(line)
    return None if in_common is None else (_OUTCOMES[in_common[1]], text_of_name(in_common[2]))


def _facts_in(block: bytes, at: int) -> "Iterator[tuple[re.Match[bytes], int, int]]":
    """The facts of each run that is whole, and where its message ends, and all of it."""
    while facts := FACTS.match(block, at):
        message, result, raised, logged = facts.groups()[_MESSAGE_SIZE:]
        end_of_message = facts.end() + int(message)
        at = end_of_message + int(result) + int(raised) + int(logged or 0)
        if at > len(block):
            return
        yield facts, end_of_message, at


def _sizes(facts: "re.Match[bytes]") -> Sequence[int]:
    """Bytes of its message, of its result, of what it has raised and of what it has logged."""
    return [int(size or 0) for size in facts.groups()[_MESSAGE_SIZE:]]


def _run(
    name: str,
    ended: datetime,
    in_common: "re.Match[bytes]",
    facts: "re.Match[bytes]",
    block: bytes,
    secrets: Secrets,
) -> Run:
    sent, began, micros, attempt, crashes = map(int, facts.groups()[:_MESSAGE_SIZE])
    places = accumulate(_sizes(facts), initial=facts.end())
    data, result, *texts = (block[first:last] for first, last in pairwise(places))
    view = view_of(data, secrets)
    traceback, log = (secrets.show_detail(text).decode(errors="replace") for text in texts)
    returned = _returned(result, view.task_id or "", secrets)
    return Run(
        id=name,
        task_id=view.task_id,
        task=view.task,
        arguments=view.arguments,
        queue=text_of_name(in_common[2]),
        outcome=_OUTCOMES[in_common[1]],
        sent=time_of(sent) or ended,
        began=time_of(began) if began else None,
        ended=ended,
        seconds=micros / 1e6,
        attempt=attempt,
        crashes=crashes,
        worker=text_of_name(in_common[3]),
        host=text_of_name(in_common[4]),
        pid=int(in_common[5]),
        schedule=view.schedule,
        sent_by=view.sent_by,
        result=_result(returned, is_cut=not is_whole(result)),
        error=(error_line(traceback) or None) if traceback else _error(returned),
        traceback=traceback,
        log=log,
        values=view.values,
    )


def _returned(result: bytes, task_id: str, secrets: Secrets) -> Mapping[str, object]:
    try:
        return beginning_of_object(secrets.show_result(task_id, result))
    except UnreadableSecretError:
        return beginning_of_object(result)


def _result(returned: Mapping[str, object], *, is_cut: bool) -> str | None:
    if returned.get("is_err") is not False:
        return None
    if "return_value" not in returned:
        return ENCRYPTED if ENCRYPTED in returned else None
    return as_text(returned["return_value"]) + (CUT if is_cut else "")


def _error(returned: Mapping[str, object]) -> str | None:
    if ENCRYPTED in returned:
        return ENCRYPTED if returned.get("is_err") is True else None
    error = mapping_of(returned.get("error"))
    kind, text = text_in(error, "exc_type"), text_in(error, "text")
    return None if kind is None else f"{kind}: {text}" if text else kind
