"""Calls of every kind, steadily, while harm is done."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from tests.faults.brokers import LOW
from tests.faults.callers import Callers, Options
from tests.faults.jobs import Orders, text_of

_KEYS: Final = 4
_LARGE: Final = (200_000, 2_000_000)
_SMALL: Final = (0, 200)
_TOGETHER: Final = 5
_LONG_SECONDS: Final = 2.5


class Traffic:
    """Draws calls, and makes them. Keys are few, so that they are held often.

    Args:
        callers: who makes them.
        rate: calls a second.
        dice: decides everything.
        has_news: whether it calls what only workers of the new edition know.
        may_wait: whether calls may be due later, or tried again.
    """

    def __init__(
        self,
        callers: Callers,
        *,
        rate: float,
        dice: random.Random,
        has_news: bool = False,
        may_wait: bool = True,
    ) -> None:
        self._callers = callers
        self._rate = rate
        self._dice = dice
        self._has_news = has_news
        self._may_wait = may_wait
        self._number = 0
        # The last unknown id that was cancelled, to be sent later.
        self._cancelled_before = ""

    @asynccontextmanager
    async def flowing(self) -> AsyncGenerator[None]:
        """Make calls within the `async with` block."""
        flow = asyncio.create_task(self._flow())
        try:
            yield
        finally:
            flow.cancel()
            await asyncio.gather(flow, return_exceptions=True)

    async def _flow(self) -> None:
        loop = asyncio.get_running_loop()
        began, number = loop.time(), 0
        while True:
            self._call_one()
            number += 1
            await asyncio.sleep(max(0.0, began + number / self._rate - loop.time()))

    def _call_one(self) -> None:
        kinds = {
            self._any: 78.0,
            self._twice: 10.0,
            self._many: 5.0,
            self._cancel_unknown: 4.0,
            self._cancel_ended: 3.0,
            self._cancel_failing: 4.0,
        }
        if self._has_news:
            kinds |= {self._novel: 12.0, self._grown: 12.0}
        (kind,) = self._dice.choices(list(kinds), list(kinds.values()))
        kind(self._next_name())

    def _next_name(self) -> str:
        self._number += 1
        return f"call-{self._number}"

    def _any(self, name: str) -> None:
        """One call, with options by lot, and perhaps a change of mind."""
        dice = self._dice
        self._begin(name, Options() if dice.random() < 0.2 else self._options())
        if dice.random() < 0.2:
            self._callers.begin(name, self._cancel_later(name, dice.uniform(0.0, 1.5)))

    def _twice(self, name: str) -> None:
        """Calls of one key, at once or one shortly after the other."""
        options = Options(unique=self._key(), delay=self._dice.choice((0.0, 0.0, 0.4)) if self._may_wait else 0.0)
        self._begin(name, options)
        second = self._next_name()
        self._callers.begin(second, self._call_later(second, options.unique, self._dice.choice((0.0, 0.01, 0.2))))

    def _many(self, name: str) -> None:
        names = [name, *(self._next_name() for _ in range(_TOGETHER - 1))]
        self._callers.begin(name, self._callers.call_many(names, [self._orders(one) for one in names]))

    def _cancel_unknown(self, name: str) -> None:
        """Cancel what nobody has sent, and send what was cancelled so the last time."""
        before, self._cancelled_before = self._cancelled_before, name
        self._callers.begin(name, self._callers.cancel(name))
        if before:
            self._begin(before, Options())

    def _cancel_ended(self, name: str) -> None:
        self._callers.begin(name, self._call_and_cancel(name))

    def _cancel_failing(self, name: str) -> None:
        """Cancel what runs, would fail before its worker knows of that, and would be tried again."""
        orders = Orders(seconds=0.4, failures=9, text="", answers=0)
        self._callers.begin(name, self._callers.call(name, orders, Options(retries=2 if self._may_wait else 0)))
        self._callers.begin(name, self._cancel_later(name, 0.2))

    def _novel(self, name: str) -> None:
        self._callers.begin(name, self._callers.call_task(self._callers.jobs.novel, name))

    def _grown(self, name: str) -> None:
        self._callers.begin(name, self._callers.call_task(self._callers.jobs.grown, name, 2))

    def _begin(self, name: str, options: Options) -> None:
        self._callers.begin(name, self._callers.call(name, self._orders(name), options))

    async def _call_later(self, name: str, unique: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._callers.call(name, self._orders(name), Options(unique=unique))

    async def _cancel_later(self, name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._callers.cancel(name)

    async def _call_and_cancel(self, name: str) -> None:
        await self._callers.call(name, self._orders(name))
        await self._callers.cancel(name)

    def _options(self) -> Options:
        dice = self._dice
        return Options(
            unique=self._key() if dice.random() < 0.3 else "",
            queue=dice.choice(("", "", LOW)),
            delay=dice.uniform(0.2, 1.5) if self._may_wait and dice.random() < 0.25 else 0.0,
            retries=dice.choice((0, 0, 2)) if self._may_wait else 0,
            give_up=dice.uniform(0.0005, 0.01) if dice.random() < 0.04 else 0.0,
        )

    def _orders(self, name: str) -> Orders:
        dice = self._dice
        return Orders(
            seconds=_LONG_SECONDS if dice.random() < 0.05 else dice.choice((0.0, 0.1, 0.4)),
            failures=dice.choices((0, 1, 9), (8, 2, 1))[0],
            text=text_of(name, self._size()),
            answers=self._size(),
        )

    def _size(self) -> int:
        return self._dice.randint(*(_LARGE if self._dice.random() < 0.03 else _SMALL))

    def _key(self) -> str:
        return f"key-{self._dice.randrange(_KEYS)}"
