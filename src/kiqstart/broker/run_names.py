"""Which runs the blocks hold: their tasks' ids and names, without what else is written of them."""

from array import array
from collections.abc import Mapping, Sequence
from datetime import datetime
from sys import intern
from typing import NamedTuple

from kiqstart.broker.message_view import names_in
from kiqstart.broker.run_decoding import ended_at, head_of, messages_in
from kiqstart.broker.run_stats import Outcome


class NamedRun(NamedTuple):
    """A run, as `Run` has it, by what chooses it."""

    id: str
    task_id: str | None
    task: str | None
    queue: str
    outcome: Outcome
    ended: datetime


class BlockNames(NamedTuple):
    """What chooses the runs of a block; of each the id and the name of its task, oldest first."""

    outcome: Outcome
    queue: str
    tasks: Sequence[tuple[str | None, str | None]]


def names_of(fields: Mapping[bytes, bytes]) -> BlockNames | None:
    """Those of a block, by the fields of its entry; None where it is none of ours, or of another version."""
    block = fields.get(b"runs", b"")
    head = head_of(block)
    if head is None:
        return None
    outcome, queue, start = head
    return BlockNames(outcome, queue, [names_in(block, *place) for place in messages_in(block, start)])


def named_runs(entry: bytes, names: BlockNames | None) -> list[NamedRun]:
    """The runs of a block, newest first."""
    ended = ended_at(entry)
    if names is None or ended is None:
        return []
    block, (outcome, queue, tasks) = entry.decode(), names
    return [
        NamedRun(f"{block}.{place}", *tasks[place], queue, outcome, ended) for place in range(len(tasks) - 1, -1, -1)
    ]


class NameTable:
    """The names of successive blocks in memory, some hundred bytes a run.

    Attributes:
        task_ids: of all runs.
    """

    def __init__(self) -> None:
        self.task_ids: list[str | None] = []
        self._tasks: list[str | None] = []
        self._starts = array("L")
        self._shared: list[tuple[Outcome, str] | None] = []

    def add(self, names: BlockNames | None) -> None:
        """Append a newer block."""
        self._starts.append(len(self.task_ids))
        if names is None:
            self._shared.append(None)
            return
        shared = (names.outcome, names.queue)
        # Most blocks are like the one before.
        self._shared.append(self._shared[-1] if self._shared and self._shared[-1] == shared else shared)
        for task_id, task in names.tasks:
            self.task_ids.append(task_id)
            self._tasks.append(None if task is None else intern(task))

    def count_from(self, place: int) -> int:
        """How many runs a block has, and those after it."""
        return len(self.task_ids) - (self._starts[place] if place < len(self._starts) else len(self.task_ids))

    def names_at(self, place: int) -> BlockNames | None:
        """Those of a block, by its place."""
        shared = self._shared[place]
        if shared is None:
            return None
        start = self._starts[place]
        end = self._starts[place + 1] if place + 1 < len(self._starts) else len(self.task_ids)
        return BlockNames(*shared, list(zip(self.task_ids[start:end], self._tasks[start:end], strict=True)))
