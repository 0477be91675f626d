"""What Redis has of a queue."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, TypedDict, cast

from redis.asyncio import Redis
from tests.faults.brokers import WEIGHTS
from tests.faults.jobs import outcome_of
from tests.invariants.facts import Left
from tests.invariants.leftovers import unexpected

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.results import decode_result

_SECONDS_BETWEEN_LOOKS: Final = 0.25
_RESULTS_AT_ONCE: Final = 100
_Entries = list[tuple[bytes, dict[bytes, bytes]]]


class Message(TypedDict):
    """A message that waits or runs."""

    kind: str
    task: str
    where: str


class Letter(TypedDict):
    """A dead letter."""

    id: str
    task: str
    reason: str


class Look(TypedDict):
    """All that is there. `results` is None where nobody has looked for results."""

    messages: list[Message]
    letters: list[Letter]
    held: dict[str, str]
    keys: dict[str, bool]
    """Each key's name, without what all begin with, and whether it expires."""
    results: dict[str, str] | None


class Looker:
    """Looks at a queue from outside."""

    def __init__(self, redis: Redis, queue: str) -> None:
        self._redis = redis
        self._queue = queue
        self._keys = QueueKeys(queue)

    async def wait_until_tidy(self, within: float) -> None:
        """Wait until no message is there, and no key that has no business there; or for so many seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while loop.time() < deadline:
            keys = [Left(name=name, expires=expires) for name, expires in (await self._left()).items()]
            if not (await self._messages() or unexpected(keys)):
                return
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)

    async def look(self, tasks: Sequence[str] | None) -> Look:
        """Look at everything, and at what became of those tasks."""
        held = cast("dict[bytes, bytes]", await self._redis.hgetall(self._keys.uniques))
        return Look(
            messages=await self._messages(),
            letters=[
                Letter(id=entry.decode(), task=_task_id(fields), reason=fields.get(b"reason", b"").decode())
                for entry, fields in cast("_Entries", await self._redis.xrange(self._keys.dead))
            ],
            held={key.decode(): task.decode() for key, task in held.items()},
            keys=await self._left(),
            results=None if tasks is None else await self._results(tasks),
        )

    async def _messages(self) -> list[Message]:
        found: list[Message] = []
        for stream in self._keys.all_streams(WEIGHTS):
            entries = cast("_Entries", await self._redis.xrange(stream))
            found += [Message(kind="stream", task=_task_id(fields), where=stream) for _, fields in entries]
        delayed = cast("list[bytes]", await self._redis.zrange(self._keys.delayed, 0, -1))
        found += [Message(kind="delayed", task=name.decode(), where=self._keys.delayed) for name in delayed]
        return found

    async def _left(self) -> dict[str, bool]:
        keys = cast("AsyncIterator[bytes]", self._redis.scan_iter(count=1000))
        names = sorted([key async for key in keys])
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.pttl(name)
            lives = cast("list[int]", await pipe.execute())
        prefixes = (f"{{{self._queue}}}", self._queue)
        return {_without(name.decode(), prefixes): left >= 0 for name, left in zip(names, lives, strict=True)}

    async def _results(self, tasks: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for start in range(0, len(tasks), _RESULTS_AT_ONCE):
            some = tasks[start : start + _RESULTS_AT_ONCE]
            values = cast("list[bytes | None]", await self._redis.mget(map(self._keys.result, some)))
            found |= {
                task: outcome_of(task, decode_result(value)) for task, value in zip(some, values, strict=True) if value
            }
        return found


def _task_id(fields: dict[bytes, bytes]) -> str:
    try:
        message: Any = json.loads(fields[b"data"])
        return str(message["task_id"])
    except (KeyError, TypeError, ValueError):
        return ""


def _without(name: str, prefixes: Sequence[str]) -> str:
    for prefix in prefixes:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return f"foreign:{name}"
