"""Integers that Python writes and does not read: those of more digits than it turns from text."""

import json
import re
import sys
from typing import Final

MOST_DIGITS: Final = sys.int_info.default_max_str_digits
_LONG: Final = re.compile(rb"[0-9]{%d}" % (MOST_DIGITS + 1))


def refuse_long_numbers(data: bytes) -> bytes:
    """Give the JSON back, if Python reads its numbers.

    Raises:
        ValueError: it has an integer of too many digits.
    """
    # A run that is so long has a digit at one of these places.
    for place in range(MOST_DIGITS, len(data), MOST_DIGITS):
        near = place - MOST_DIGITS, place + MOST_DIGITS + 1
        if data[place : place + 1].isdigit() and _LONG.search(data, *near):
            # It may stand in a text.
            json.loads(data)
            break
    return data
