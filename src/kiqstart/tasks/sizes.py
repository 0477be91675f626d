"""How large a message or a result may be: as JSON, and when it is decoded."""

import re
from typing import Final

MIB: Final = 1024 * 1024
# More has no place in Redis, which holds up everybody for as long as it moves them.
DEFAULT_BYTES: Final = 16 * MIB
# Up to here a dead letter keeps its message whole; of a larger one, which nobody can have sent, its beginning.
LARGEST_BYTES: Final = 64 * MIB
BYTES_OF_A_LARGER_ONE: Final = 64 * 1024
# So many times its size JSON may take when it is decoded. One of nothing but brackets takes 85 times as much, and so
# long to decode that its worker could lose its lease.
_GROWTH: Final = 16
# What CPython makes of brackets, braces and commas, in bytes: measured, and rather too much than too little.
_LIST: Final = 160
_DICT: Final = 230
_ITEM: Final = 50
# Whatever a smaller one holds, nobody notices.
SMALL: Final = 1024
MOST_GROWTH: Final = _LIST // _GROWTH
"""JSON of which that many times the size is below a limit is not too large, whatever it holds."""
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"')


class MessageTooLargeError(ValueError):
    """A message is larger than this process decodes."""


def weight_of(data: bytes) -> int:
    """Bytes of memory that JSON takes together with what it is decoded to: an estimate, high for texts with commas."""
    if len(data) < SMALL:
        return len(data)
    return len(data) * 2 + data.count(b"[") * _LIST + data.count(b"{") * _DICT + data.count(b",") * _ITEM


def size_problem(data: bytes, limit: int) -> str | None:
    """Why JSON is too large for a limit in bytes, or None."""
    if len(data) > limit:
        return f"{len(data)} bytes, of which {limit} are possible"
    if len(data) * _LIST < limit * _GROWTH or weight_of(data) <= limit * _GROWTH:
        return None
    # What stands in a text is no structure.
    weight = weight_of(_STRING.sub(b"", data)) + len(data)
    if weight <= limit * _GROWTH:
        return None
    return f"{weight} bytes when it is decoded, of which {limit * _GROWTH} are possible"


def kept_of(data: bytes) -> bytes:
    """What a dead letter keeps of a message."""
    return data if len(data) <= LARGEST_BYTES else data[:BYTES_OF_A_LARGER_ONE]
