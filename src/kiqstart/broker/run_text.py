"""The texts of successive blocks of runs in memory, to be searched."""

import re
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

Block = tuple[bytes, bytes]
"""The id of a block, and its text as it is `searchable`."""
TASK_ID: Final = re.compile(rb'"task_id"\s*:\s*"([^"\\]*)"')
"""As JSON has most ids; one with an escape is not found so."""
_SEGMENT_BYTES: Final = 256 * 1024
_MARK: Final = b"\0"


def searchable(text: bytes) -> bytes:
    """A text in small letters, and without the spaces that JSON may have between values."""
    return text.lower().replace(b": ", b":").replace(b", ", b",")


class StreamText:
    """The texts of a stream's newest blocks, without a gap."""

    def __init__(self) -> None:
        self.segments: deque[Segment] = deque()
        self.is_complete = False
        """Whether there was none before them."""

    @property
    def size(self) -> int:
        """Bytes of all texts."""
        return sum(len(one.text) for one in self.segments)

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
    """The texts of some blocks, one after the other, so that all are searched at once."""

    def __init__(self) -> None:
        self.ids: list[bytes] = []
        self.text = bytearray()
        self._starts = array("L")

    def add(self, block: Block) -> None:
        """Append a newer block."""
        self.ids.append(block[0])
        self._starts.append(len(self.text))
        self.text += _MARK + block[1]

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

    def naming(self, task_ids: AbstractSet[bytes]) -> list[bytes]:
        """The ids of the blocks with a message of one of these tasks, whose ids are `searchable`, newest first."""
        places = [match.start() for match in TASK_ID.finditer(self.text) if match[1] in task_ids]
        return list(dict.fromkeys(self.ids[bisect_right(self._starts, place) - 1] for place in reversed(places)))

    def _end_of(self, place: int) -> int:
        return self._starts[place + 1] if place + 1 < len(self._starts) else len(self.text)


def _order(entry: bytes) -> tuple[int, int]:
    count, _, milliseconds = entry.partition(b"-")
    return int(count), int(milliseconds)
