"""The dead letters in the memory of a process that looks at them often, without their messages.

A look reads what came since the last one. Letters are dropped from the oldest on, which is seen by the first one that
is left; that some were taken out elsewhere is seen by their number, and the ids of all tell which. It costs those who
write letters nothing.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.dead_letter import DeadLetter
from kiqstart.broker.dead_letters import LettersAfter
from kiqstart.broker.letter_text import error_line

LONGEST_PROBLEM: Final = 400
"""Characters of an error that are shown in a table."""
_MOST: Final = 50_000


class LetterIndex:
    """The dead letters of a broker; for one event loop.

    Args:
        most: letters; of more, each look goes through all that Redis has.
    """

    def __init__(self, broker: StreamBroker, *, most: int = _MOST) -> None:
        self._broker = broker
        self._most = most
        self._letters: dict[str, DeadLetter] = {}
        self._newest: str | None = None
        self._refreshing = asyncio.Lock()

    async def walk(
        self, *, reason: str | None = None, task_name: str | None = None, older_than: float | None = None
    ) -> AsyncGenerator[DeadLetter]:
        """As `DeadLetters.walk`, without their messages, and with a line of their details."""
        if not await self._refresh():
            dead = self._broker.dead_letters
            async with aclosing(dead.walk(reason=reason, task_name=task_name, older_than=older_than)) as letters:
                async for letter in letters:
                    yield letter
            return
        before = None if older_than is None else await self._broker.dead_letters.oldest_kept(older_than)
        for letter in reversed(list(self._letters.values())):
            is_young = before is not None and letter_order(letter.id)[0] >= before
            if not is_young and reason in (None, letter.reason) and task_name in (None, letter.task_name):
                yield letter

    async def _refresh(self) -> bool:
        """Whether it has all letters now."""
        async with self._refreshing:
            while True:
                found = await self._broker.dead_letters.after(self._newest)
                if found.count > self._most:
                    self._forget()
                    return False
                self._take(found)
                if found.letters and self._newest != found.last:
                    continue
                is_same = self._newest == (found.last or None) and len(self._letters) == found.count
                if is_same or await self._drop_taken_out():
                    return True

    def _take(self, found: LettersAfter) -> None:
        for one in found.letters:
            self._letters[one.id] = replace(one, data=b"", detail=error_line(one.detail)[:LONGEST_PROBLEM])
            self._newest = one.id
        first = letter_order(found.first)
        for name in list(self._letters):
            if found.count and letter_order(name) >= first:
                break
            del self._letters[name]
        if not found.count:
            self._forget()

    async def _drop_taken_out(self) -> bool:
        """Drop letters that are there no more; all of them, and False, where those that are there are others."""
        async with aclosing(self._broker.dead_letters.ids()) as ids:
            there = {name async for name in ids}
        newest = letter_order(self._newest or "")
        if any(letter_order(name) <= newest for name in there - self._letters.keys()):
            self._forget()
            return False
        self._letters = {name: one for name, one in self._letters.items() if name in there}
        self._newest = next(reversed(self._letters), None)
        return True

    def _forget(self) -> None:
        self._letters.clear()
        self._newest = None


def letter_order(letter: str) -> tuple[int, int]:
    """By which letters stand one after the other; what is no id stands before all."""
    milliseconds, _, place = letter.partition("-")
    is_id = milliseconds.isdecimal() and place.isdecimal() and len(letter) < 40  # noqa: PLR2004
    return (int(milliseconds), int(place)) if is_id else (0, 0)
