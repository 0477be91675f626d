"""Whether a process is well, by what it can see of itself: for the probes of whoever supervises it.

A finding is made of what has lasted for 15 seconds, and each is looked for every two, so a probe turns red within 30.
What lasts shorter, what other processes do, an outage's aftermath and a machine that stood still are no findings.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from redis.exceptions import RedisError

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.loop_watch import LoopWatch
from kiqstart.broker.redis_retry import reason
from kiqstart.clock import local_time

SECONDS_UNTIL_FOUND: Final = 15.0
"""How long something must last to be a finding."""
_SECONDS_BETWEEN_LOOKS: Final = 2.0
_SECONDS_FOR_REDIS: Final = 3.0
# A process that did not look for so long stood still itself, and knows nothing of that time.
_SECONDS_OF_A_STANDSTILL: Final = 10.0
# A loop that answers sooner holds nothing up.
_SECONDS_OF_A_BUSY_LOOP: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is wrong with a process.

    Args:
        check: by which name it is known: `loop`, `redis`, `taking`, `tick` or `starting`.
        text: a line for an operator.
        helps_restart: whether a restart may mend it; none brings Redis back.
    """

    check: str
    text: str
    helps_restart: bool = True


class Duty(Protocol):
    """What a process is there for."""

    async def look(self) -> None:
        """Look whether it does that."""

    def begin_anew(self) -> None:
        """Forget what was seen: it could not be done, and says nothing."""

    def finding(self) -> Finding | None:
        """What is wrong, if it has been for long enough."""
        ...


class Health:
    """Watches a process from another thread's event loop, and says what is wrong.

    Args:
        broker: gives a connection to Redis, in the watching event loop.
        loop: is the process' own, and watched.
        duty: what the process is there for.
    """

    def __init__(self, broker: StreamBroker, loop: asyncio.AbstractEventLoop, duty: Duty) -> None:
        self._broker = broker
        self._loop = loop
        self._duty = duty
        self._watch = LoopWatch(loop)
        self._owed = 0.0
        self._problem = ""
        self._looked_at = self._answered_at = local_time()

    async def watch(self) -> None:
        """Look again and again, until this is cancelled."""
        watching = asyncio.current_task()
        # A client of Redis may take the cancellation for an end of its own.
        while watching is None or not watching.cancelling():
            await self._look()
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)

    def findings(self) -> list[Finding]:
        """What is wrong now."""
        if self._stood_still():
            return []
        found: list[Finding] = []
        if self._owed >= SECONDS_UNTIL_FOUND:
            found.append(Finding(check="loop", text=f"the event loop has been blocked for {self._owed:.0f} s"))
        silent = local_time() - self._answered_at
        if silent >= SECONDS_UNTIL_FOUND:
            text = f"Redis at {self._broker.connections.address} has not answered for {silent:.0f} s: {self._problem}"
            found.append(Finding(check="redis", text=text, helps_restart=False))
        if not found and (of_duty := self._duty.finding()) is not None:
            found.append(of_duty)
        return found

    async def _look(self) -> None:
        if self._stood_still():
            self._answered_at = local_time()
            self._watch = LoopWatch(self._loop)
            self._duty.begin_anew()
        self._looked_at = local_time()
        self._owed = self._watch.ask()
        try:
            async with asyncio.timeout(_SECONDS_FOR_REDIS):
                await self._broker.connection.redis.ping()
            self._answered_at = local_time()
            async with asyncio.timeout(_SECONDS_FOR_REDIS):
                await self._duty.look()
        except (RedisError, OSError) as error:
            self._problem = reason(error) or type(error).__name__
            self._duty.begin_anew()
        if self._owed >= _SECONDS_OF_A_BUSY_LOOP:
            # It can do nothing then.
            self._duty.begin_anew()

    def _stood_still(self) -> bool:
        return local_time() - self._looked_at >= _SECONDS_OF_A_STANDSTILL


def report(findings: Sequence[Finding], *, is_live: bool) -> tuple[int, dict[str, object]]:
    """What a probe is told: the status of HTTP, and an object for JSON.

    Args:
        findings: what is wrong.
        is_live: whether it is asked if the process is to be started anew, and not whether it can work now.
    """
    reasons = [one for one in findings if one.helps_restart or not is_live]
    notes = [one for one in findings if one not in reasons]
    said: dict[str, object] = {
        "status": "failed" if reasons else "ok",
        "reasons": [{"check": one.check, "text": one.text} for one in reasons],
        "notes": [{"check": one.check, "text": one.text} for one in notes],
    }
    return (503 if reasons else 200), said
