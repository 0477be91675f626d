"""What a worker has left to others is not handed to it again."""

from collections import defaultdict
from collections.abc import Callable

from tests.invariants.facts import Process, Sent, name_of


class LeftMessages:
    """Knows who has left which message to others.

    Args:
        report: is told of each promise that did not hold, and of the task that it was about.
    """

    def __init__(self, report: Callable[[str, str], None]) -> None:
        self._report = report
        self._left_by: defaultdict[int, set[Process]] = defaultdict(set)
        # Those that somebody has who may run them, or had: given back, they are anyone's.
        self._free: set[int] = set()

    def leave(self, sent: Sent, process: Process) -> None:
        """A worker leaves a message to others."""
        self._left_by[sent.uid].add(process)
        self._free.discard(sent.uid)

    def hand(self, sent: Sent, process: Process, *, is_over: bool) -> None:
        """A worker is handed a message; where it is over, nobody may take it any more."""
        has_left = process in self._left_by[sent.uid]
        if has_left and not (is_over or sent.uid in self._free or sent.is_touched or sent.is_resent):
            self._report(
                f"{name_of(sent)} is handed to {process.name} again, which has left it to others", sent.task_id
            )
        if not has_left:
            self._free.add(sent.uid)
