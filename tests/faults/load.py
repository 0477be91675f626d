"""A steady mix of all kinds of tasks."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final

from tests.faults.producer import Producer

_SECONDS_BETWEEN: Final = 0.1


class MixedLoad:
    """Sends until it is told to stop, each task through a producer drawn by lot.

    Args:
        producers: they share the sending.
        rate: tasks a second; those that tasks send come on top.
        dice: decides what is sent.
    """

    def __init__(self, producers: Sequence[Producer], *, rate: float, dice: random.Random) -> None:
        self._producers = producers
        self._rate = rate
        self._dice = dice
        self._number = 0
        # The weights leave about half of a core to what computes.
        self._kinds: dict[Callable[[Producer, str], None], float] = {
            self._no_op: 60.0,
            self._nap: 22.0,
            self._sit: 8.0,
            self._parent: 9.6,
            self._flaky: 5.0,
            self._spin: 0.4,
        }

    async def send(self, stop: asyncio.Event) -> None:
        """Send until the event is set, and wait for the sends to return."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not stop.is_set():
            due = int((loop.time() - began) * self._rate)
            while self._number < due:
                self._number += 1
                (kind,) = self._dice.choices(list(self._kinds), list(self._kinds.values()))
                kind(self._dice.choice(self._producers), f"{kind.__name__.strip('_')}-{self._number}")
            await asyncio.sleep(_SECONDS_BETWEEN)
        for producer in self._producers:
            await producer.flush()

    def _no_op(self, producer: Producer, name: str) -> None:
        producer.begin(producer.tasks.nap, name, 0.0)

    def _nap(self, producer: Producer, name: str) -> None:
        # Most are short, some take 8 s.
        producer.begin(producer.tasks.nap, name, min(8.0, 0.1 + self._dice.expovariate(1.0)))

    def _sit(self, producer: Producer, name: str) -> None:
        producer.begin(producer.tasks.sit, name, self._dice.uniform(0.1, 1.0))

    def _parent(self, producer: Producer, name: str) -> None:
        producer.begin(producer.tasks.parent, name, self._dice.randint(1, 4))

    def _flaky(self, producer: Producer, name: str) -> None:
        producer.begin(producer.tasks.flaky, name, self._dice.randint(1, 3))

    def _spin(self, producer: Producer, name: str) -> None:
        producer.begin(producer.tasks.spin, name, self._dice.uniform(0.5, 3.0))
