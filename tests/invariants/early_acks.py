"""What is promised of tasks that are acknowledged before their result is there."""

from collections.abc import Callable, Collection, Mapping

from tests.invariants.facts import Found, Sent, name_of

Place = tuple[str, str]
"""A stream and an entry of it."""


class EarlyAcks:
    """Knows which messages were acknowledged early: each runs once, or its caller is told that it was cut off.

    Args:
        report: is told of each promise that did not hold, and of the task that it was about.

    Attributes:
        may_be_cut_off: whether the worker that has an entry has died, stood still, or was asked to end.
    """

    def __init__(self, report: Callable[[str, str], None]) -> None:
        self._report = report
        self.may_be_cut_off: Callable[[Place], bool] = lambda _: True
        self._marked: dict[Place, Sent] = {}

    def begin(self, sent: Sent) -> None:
        """A run begins."""
        if sent.is_touched or sent.is_resent:
            return
        if sent.was_cut_off:
            self._report(f"{name_of(sent)} begins, and its caller was told that it was cut off", sent.task_id)
        elif sent.acknowledges_first and sent.runs and not sent.runs[-1].is_retried:
            self._report(f"{name_of(sent)} begins again, and was acknowledged before it ran", sent.task_id)

    def check(
        self, found: Collection[Found], sent: Mapping[int, Sent], *, gives_back: bool, has_old_version: bool
    ) -> list[Sent]:
        """Which messages were cut off by the step that was taken.

        Args:
            found: all that Redis has.
            sent: all messages, by their uid.
            gives_back: whether the step gives to others what a worker had.
            has_old_version: whether a worker takes part that knows no such acknowledgements: it gives to others what
                must not run again, and leaves to the janitor what is noted of it.
        """
        marks = {(one.where, one.entry) for one in found if one.kind == "early"}
        if not (marks or self._marked):
            return []
        entries = {(one.where, one.entry): one.uid for one in found if one.kind == "stream" and one.uid is not None}
        cut_off = [one for place, one in self._marked.items() if place not in entries] if gives_back else []
        for place, one in self._marked.items():
            if one in cut_off and not (one.is_touched or self.may_be_cut_off(place)):
                self._report(f"{name_of(one)} is cut off, and its worker lives", one.task_id)
        for place in () if has_old_version else sorted(marks - entries.keys()):
            self._report(f"it is kept of entry {place[1]} of {place[0]} that it was acknowledged, and it is gone", "")
        self._marked = {place: sent[entries[place]] for place in sorted(marks & entries.keys())}
        return cut_off
