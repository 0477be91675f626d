"""What a worker tells Redis with its beats, and by what it sees that Redis has come back with older data."""

from collections import deque
from typing import Final

_REMEMBERED: Final = 20


class Beats:
    """Each beat is another number: Redis' time, as far as the worker knows it.

    Redis says with each beat which one it had before. If that is an older one than it has answered already, its data
    are older ones: a backup, or a replica that lagged. A beat without an answer may have come, and may come yet.

    Attributes:
        last: the last one that Redis has answered.
    """

    def __init__(self) -> None:
        self.last = 0
        self._next = 0
        self._unanswered: deque[int] = deque(maxlen=_REMEMBERED)

    def begin(self, beat: int) -> None:
        """The worker is registered with this beat."""
        self.last = beat

    def next(self, now_ms: int) -> int:
        """What a beat says that is sent now."""
        beat = now_ms
        # Redis answers whether it has changed.
        while beat == self.last or beat in self._unanswered:
            beat += 1
        self._next = beat
        self._unanswered.append(beat)
        return self._next

    def answered(self, before: int, *, beat: int | None = None) -> bool:
        """Note that Redis has answered the beat that was sent last; gives whether its data are older ones.

        Args:
            before: what Redis had before.
            beat: what it has now, where that may be another one than was sent.
        """
        is_older = before < self.last and before not in self._unanswered
        self._unanswered.remove(self._next)
        self.last = self._next if beat is None else beat
        return is_older
