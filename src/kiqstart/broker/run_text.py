"""The texts of successive blocks of runs in memory, to be searched, and the names of their runs."""

from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from kiqstart.broker.run_names import BlockNames, NamedRun, NameTable, named_runs

_SEGMENT_BYTES: Final = 256 * 1024
# In the tables of names: an id of 32 letters and its places take 110.
_BYTES_OF_A_RUN: Final = 128
_MARK: Final = b"\0"


def searchable(text: bytes) -> bytes:
    """A text in small letters, and without the spaces that JSON may have between values."""
    return text.lower().replace(b": ", b":").replace(b", ", b",")


class Block(NamedTuple):
    """A block of runs.

    Args:
        id: its entry's.
        text: what it holds, as it is `searchable`.
        names: of its runs.
    """

    id: bytes
    text: bytes
    names: BlockNames | None


class StreamText:
    """The texts of a stream's newest blocks, without a gap."""

    def __init__(self) -> None:
        self.segments: deque[Segment] = deque()
        self.is_complete = False
        """Whether there was none before them."""

    @property
    def size(self) -> int:
        """Bytes of all texts and names, about."""
        return sum(len(one.text) + _BYTES_OF_A_RUN * len(one.names.task_ids) for one in self.segments)

    @property
    def mean_size(self) -> int:
        """Bytes of one of the newest."""
        return len(self.segments[-1].text) // len(self.segments[-1].ids) if self.segments else _SEGMENT_BYTES

    @property
    def oldest(self) -> bytes | None:
        """The id of the oldest block; None where there is none."""
        return self.segments[0].ids[0] if self.segments else None

    @property
    def newest(self) -> bytes | None:
        """The id of the newest block; None where there is none."""
        return self.segments[-1].ids[-1] if self.segments else None

    def add_newer(self, page: Sequence[Block]) -> None:
        """Append blocks, the oldest first."""
        for block in page:
            if not self.segments or len(self.segments[-1].text) >= _SEGMENT_BYTES:
                self.segments.append(Segment())
            self.segments[-1].add(block)

    def add_older(self, page: Sequence[Block]) -> None:
        """Put blocks before all others, the newest first."""
        if page:
            segment = Segment()
            for block in reversed(page):
                segment.add(block)
            self.segments.appendleft(segment)

    def drop_before(self, first: bytes) -> None:
        """Drop blocks that were trimmed: those before the first one that there is, as far as a segment has no other."""
        while len(self.segments) > 1 and _order(self.segments[0].ids[-1]) < _order(first):
            self.segments.popleft()

    def bound(self, most: int) -> None:
        """Drop the oldest, until so many bytes are left, or one segment."""
        while len(self.segments) > 1 and self.size > most:
            self.segments.popleft()
            self.is_complete = False


class Segment:
    """The texts of some blocks, one after the other, so that all are searched at once, and their names."""

    def __init__(self) -> None:
        self.ids: list[bytes] = []
        self.text = bytearray()
        self.names = NameTable()
        self._runs: list[NamedRun] | None = None
        self._starts = array("L")

    def add(self, block: Block) -> None:
        """Append a newer block."""
        self.ids.append(block.id)
        self._starts.append(len(self.text))
        self.text += _MARK + block.text
        self.names.add(block.names)
        self._runs = None

    def holding(self, choices: Sequence[Sequence[bytes]]) -> list[bytes]:
        """The ids of the blocks that hold one at least of each of these choices, one choice at least, newest first."""
        # The longest one is found quickest, and in the fewest blocks.
        longest, *others = sorted(choices, key=lambda choice: min(map(len, choice)), reverse=True)
        places = sorted({place for needle in longest for place in self._places(needle)}, reverse=True)
        return [self.ids[place] for place in places if all(self._has_one(place, choice) for choice in others)]

    def _places(self, needle: bytes) -> Iterator[int]:
        """Which blocks hold a text."""
        at = self.text.find(needle)
        while at >= 0:
            place = bisect_right(self._starts, at) - 1
            yield place
            at = self.text.find(needle, self._end_of(place))

    def _has_one(self, place: int, choice: Sequence[bytes]) -> bool:
        start, end = self._starts[place], self._end_of(place)
        return any(self.text.find(needle, start, end) >= 0 for needle in choice)

    def runs(self, first: bytes) -> Sequence[NamedRun]:
        """Its runs from a block on, newest first."""
        if self._runs is None:
            self._runs = [run for place in reversed(range(len(self.ids))) for run in self._runs_at(place)]
        if _order(self.ids[0]) >= _order(first):
            return self._runs
        count = self.names.count_from(self._place_from(first))
        return self._runs[:count]

    def runs_among(self, first: bytes, task_ids: AbstractSet[str]) -> Sequence[NamedRun]:
        """Those of some tasks."""
        # Of most segments that is all.
        if task_ids.isdisjoint(self.names.task_ids):
            return []
        places = range(self._place_from(first), len(self.ids))
        return [run for place in reversed(places) for run in self._runs_at(place) if run.task_id in task_ids]

    def _runs_at(self, place: int) -> Sequence[NamedRun]:
        return named_runs(self.ids[place], self.names.names_at(place))

    def _place_from(self, first: bytes) -> int:
        return bisect_left(self.ids, _order(first), key=_order)

    def _end_of(self, place: int) -> int:
        return self._starts[place + 1] if place + 1 < len(self._starts) else len(self.text)


def _order(entry: bytes) -> tuple[int, int]:
    count, _, milliseconds = entry.partition(b"-")
    return int(count), int(milliseconds)
