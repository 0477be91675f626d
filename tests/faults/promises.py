"""Holds a recorded history against all that is promised, with no server and no worker."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tests.faults.checker import Checker
from tests.faults.recorder import Event, Mark
from tests.faults.records import Records, task_of
from tests.faults.replay import Replay

from kiqstart.errors import OperatorError

_DEFAULT_LEASE = 5.0


class HistoryError(OperatorError):
    """A file holds no history."""


def read_history(file: Path) -> Records:
    """Read a history.

    Raises:
        HistoryError: it cannot be read, or is none.
    """
    records = Records(file=file)
    try:
        records.refresh()
    except OSError as error:
        raise HistoryError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, IndexError, StopIteration) as error:
        number = len(records.events) + 1
        raise HistoryError(f"{file} is no history of `make test-faults`: see line {number} ({error!r})") from None
    return records


def check(records: Records) -> list[str]:
    """Say for each task what was not kept, in one line with its events; then what is about no task."""
    checker = Checker(records, lease=lease_of(records))
    broken: defaultdict[str, list[str]] = defaultdict(list)
    for breach in Replay(records=records, checker=checker).breaches():
        broken[breach.task_id].append(breach.text)
    verdict = checker.verdict()
    for name in verdict.lost:
        broken[task_of(name)].append(f"{name} was accepted and never ended")
    for name in verdict.twice:
        broken[task_of(name)].append(f"{name} ran again without any fault that is a reason for it")
    return [_line(records, task, texts) for task, texts in broken.items()]


def lease_of(records: Records) -> float:
    """The lease of the workers, in seconds."""
    headers = [event for event in records.events if event.mark is Mark.SCENARIO]
    return float(headers[0].details["lease"]) if headers else _DEFAULT_LEASE


def _line(records: Records, task: str, texts: Sequence[str]) -> str:
    said = "; ".join(dict.fromkeys(texts))
    if not task:
        return said
    return f"{task}: {said} [{' | '.join(_events(records, task))}]"


def _events(records: Records, task: str) -> list[str]:
    """What is known of a task, and what befell the processes that ran it."""
    own = [event for event in records.events if event.id == task and event.mark not in _ABOUT_NO_TASK]
    pids = {event.pid for event in own if event.mark is Mark.START}
    hit = pids | {parent for pid in pids for parent in records.parents_of(pid)}
    harm = [event for event in records.events if event.mark is Mark.FAULT and event.details["hit"] in hit]
    return [str(event) for event in sorted(own + harm, key=_time)]


_ABOUT_NO_TASK = frozenset({Mark.SCENARIO, Mark.READY, Mark.FAULT, Mark.OVER, Mark.RELIEVED})


def _time(event: Event) -> float:
    return event.at
