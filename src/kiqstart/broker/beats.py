"""What a worker tells Redis with its beats, and by what it sees that Redis has come back with older data."""

from collections import deque
from typing import Final

_REMEMBERED: Final = 20


class Beats:
    """Each beat is another number: Redis' time, as far as the worker knows it.

    Redis says with each beat which one it had before. If that is none that it may have, its data are older ones: a
    backup, or a replica that lagged. It may have the last one that it has answered, or one that had no answer: that may
    have come, and may come yet, but no more once it or a later one is seen there. A script that finds another one puts
    the next number in its place (library.lua), so that it is still seen where its answer is lost.

    Attributes:
        last: the last one that Redis has answered.
        is_certain: whether Redis has answered the last one that was sent.
    """

    def __init__(self) -> None:
        self.last = 0
        self.is_certain = True
        self._next = 0
        self._unanswered: deque[int] = deque(maxlen=_REMEMBERED)

    def begin(self, beat: int) -> None:
        """The worker is registered with this beat."""
        self.last, self.is_certain = beat, True

    def next(self, now_ms: int) -> int:
        """What a beat says that is sent now."""
        beat = now_ms
        # Redis answers whether it has changed.
        while beat == self.last or beat in self._unanswered:
            beat += 1
        self._next, self.is_certain = beat, False
        self._unanswered.append(beat)
        return beat

    @property
    def possible(self) -> list[int]:
        """Those that Redis may have; the one that is sent now as well, which may be sent twice."""
        return [self.last, *self._unanswered]

    def answered(self, before: int, *, beat: int | None = None) -> bool:
        """Note that Redis has answered the beat that was sent last; gives whether its data are older ones.

        Args:
            before: what Redis had before.
            beat: what it has now, where it does not go by what is `possible`.
        """
        is_older = before not in self.possible
        if beat is None:
            beat = before + 1 if is_older else self._next
        if before in self._unanswered:
            while self._unanswered.popleft() != before:
                pass
        if self._next in self._unanswered:
            self._unanswered.remove(self._next)
        self.last, self.is_certain = beat, True
        return is_older
