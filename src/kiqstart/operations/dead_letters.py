"""Dead letters as an operator looks at them."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from kiqstart.broker.dead_letter import DeadLetter, DeadLetterNotFoundError
from kiqstart.broker.dead_letters import DeadLetters
from kiqstart.broker.letter_text import error_line
from kiqstart.operations.dead_selection import Filters
from kiqstart.operations.letter_index import LONGEST_PROBLEM, LetterIndex
from kiqstart.operations.text import shown

# Bytes; what a stranger has nested takes a hundred times as much.
_LARGEST_INDENTED: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class FoundLetters:
    """The newest letters that are meant, without their messages, and how many there are.

    Args:
        totals: how many of those that are meant, by task ('' for none) and reason.
        count: of all letters.
        dropped: letters that were ever dropped since they were too old, too many or too large.
    """

    letters: Sequence[DeadLetter]
    totals: Mapping[tuple[str, str], int]
    count: int
    dropped: int


async def read_letters(
    dead: DeadLetters, filters: Filters, *, limit: int, index: LetterIndex | None = None
) -> FoundLetters:
    """Read the newest letters that are meant, and count the rest; an `index` is for who looks often."""
    found, totals = list[DeadLetter](), Counter[tuple[str, str]]()
    async for letter in filters.letters(index or dead):
        totals[letter.task_name or "", letter.reason] += 1
        if len(found) < limit:
            # Messages may be large, and the table shows none.
            found.append(replace(letter, data=b"", detail=shown_problem(letter.detail)))
    return FoundLetters(letters=found, totals=totals, count=await dead.count(), dropped=await dead.dropped())


async def find_letter(dead: DeadLetters, name: str, *, index: LetterIndex | None = None) -> DeadLetter:
    """The letter with an id, or the newest of a task's id; an `index` is for who looks often.

    Raises:
        DeadLetterNotFoundError: there is none.
        RedisError: Redis is away.
    """
    try:
        return await dead.get(name)
    except DeadLetterNotFoundError:
        async with aclosing((index or dead).walk()) as letters:
            async for one in letters:
                if one.task_id == name:
                    return one if index is None else await dead.get(one.id)
        raise


def shown_problem(detail: str) -> str:
    """One line of a detail: the error of a traceback, else the first line."""
    return shown(error_line(detail)[:LONGEST_PROBLEM])


def indented(data: bytes) -> str:
    """A message as indented JSON where it is JSON, and not so large that this would take much memory."""
    if len(data) > _LARGEST_INDENTED:
        return data.decode(errors="backslashreplace")
    try:
        return json.dumps(json.loads(data), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return data.decode(errors="backslashreplace")
