"""Queues, tasks, and calls of a task that are paused: their work waits, and nothing of it is lost.

A hash has a field for each of them, with who paused it, when and why; while nothing is paused, there is no
hash. fetch.lua leaves the streams of a paused queue out. What a worker was handed of one all the same, by a read that
already waited, it gives back. The messages of a paused task are set aside as they are read, where what is left to other
workers lies (misfits.py), and are taken from there when the task is resumed. So are the calls of a task whose arguments
have certain values; of these the index says by which pause they are held, so that no worker takes them before that is
gone. Should another pause hold them then, they are set aside once more.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, cast

from kiqstart.broker.acts import Operator
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.operator_acts import do
from kiqstart.broker.partial_json import mapping_of
from kiqstart.broker.redis_text import raw_name, text_of_name
from kiqstart.errors import OperatorError
from kiqstart.observability.redaction import redact
from kiqstart.redis.commands import AsyncCommands

_LONGEST_REASON: Final = 1000
_NOBODY: Final = Operator(user="", host="")
# What the field of calls of a task begins with; versions that do not know such pauses pass over it.
_CALLS: Final = "calls:"
_EVERY_CALL: Final[Mapping[str, str]] = MappingProxyType({})


class NotPausedError(OperatorError):
    """It is not paused."""


class Pausable(StrEnum):
    """What can be paused."""

    QUEUE = "queue"
    TASK = "task"


@dataclass(frozen=True, kw_only=True)
class Pause:
    """What is paused.

    Args:
        name: the queue's or the task's.
        where: which calls of the task: those of these arguments, as text; empty for all.
        since: by Redis' clock; None where what is kept of it cannot be read.
        by: who paused it.
        reason: why, in the operator's words.
    """

    kind: Pausable
    name: str
    where: Mapping[str, str] = field(default_factory=dict[str, str])
    since: datetime | None = None
    by: Operator = _NOBODY
    reason: str = ""

    @property
    def described(self) -> str:
        """What is paused: `task 'mail.send' where customer=7`."""
        return described(self.kind, self.name, self.where)


class Pauses:
    """Pauses and resumes queues and tasks of one broker, for all workers.

    Args:
        redis: an async client.
        keys: the broker's names.
        deadline: seconds for which an act that has begun is tried through an outage.
    """

    def __init__(self, redis: AsyncCommands, keys: QueueKeys, *, deadline: float) -> None:
        self._redis = redis
        self._keys = keys
        self._deadline = deadline

    async def pause(
        self, kind: Pausable, name: str, *, by: Operator, reason: str = "", where: Mapping[str, str] = _EVERY_CALL
    ) -> bool:
        """Let no worker begin with it until it is resumed; gives whether it was not paused before.

        Of a task, `where` pauses only the calls whose arguments have these texts (`text_of_argument`).

        Raises:
            UnansweredError: Redis does not answer any more; it may be paused.
            RedisError: Redis is away, and nothing was done.
        """
        seconds, _ = await self._redis.time()
        kept = {"since": seconds, "user": by.user, "host": by.host, "reason": redact(reason)[:_LONGEST_REASON]}
        field = raw_name(self._field(kind, name, where))
        done = await do(
            lambda: self._redis.hsetnx(self._keys.paused, field, json.dumps(kept)),
            deadline=self._deadline,
            otherwise=f"the {described(kind, name, where)} may be paused",
        )
        return bool(done.answer) or done.is_repeated

    async def resume(self, kind: Pausable, name: str, *, where: Mapping[str, str] = _EVERY_CALL) -> None:
        """Let workers take it again.

        Raises:
            NotPausedError: it is not paused.
            UnansweredError: Redis does not answer any more; it may be resumed.
            RedisError: Redis is away, and nothing was done.
        """
        field = raw_name(self._field(kind, name, where))
        done = await do(
            lambda: self._redis.hdel(self._keys.paused, field),
            deadline=self._deadline,
            otherwise=f"the {described(kind, name, where)} may be resumed",
        )
        if not (done.answer or done.is_repeated):
            raise NotPausedError(f"the {described(kind, name, where)} is not paused")

    async def all(self) -> list[Pause]:
        """All that is paused, queues first, by name."""
        found = await self._redis.hgetall(self._keys.paused)
        pauses = [one for field, kept in found.items() if (one := self._read(text_of_name(field), kept)) is not None]
        return sorted(pauses, key=lambda one: (one.kind, one.name, sorted(one.where.items())))

    def _field(self, kind: Pausable, name: str, where: Mapping[str, str]) -> str:
        return field_of(kind, self._keys.stream(name) if kind is Pausable.QUEUE else name, where)

    def _read(self, field: str, kept: bytes) -> Pause | None:
        calls = calls_of(field)
        kind, _, name = (Pausable.TASK, "", calls[0]) if calls is not None else field.partition(":")
        if kind not in list(Pausable):
            return None
        where = dict[str, str]() if calls is None else calls[1]
        if kind == Pausable.QUEUE:
            name = self._keys.queue_of(name)
        with suppress(ValueError, TypeError, KeyError, OverflowError, OSError, RecursionError):
            values = cast("Mapping[str, str | int]", json.loads(kept))
            return Pause(
                kind=Pausable(kind),
                name=name,
                where=where,
                since=datetime.fromtimestamp(int(values["since"]), UTC),
                by=Operator(user=str(values["user"]), host=str(values["host"])),
                reason=str(values["reason"]),
            )
        return Pause(kind=Pausable(kind), name=name, where=where)


def field_of(kind: Pausable, name: str, where: Mapping[str, str] = _EVERY_CALL) -> str:
    """The field of the hash: of a queue by the key of its stream, as fetch.lua has it; of calls with the arguments."""
    return f"{_CALLS}{name}\n{where_as_text(where)}" if where else f"{kind}:{name}"


def calls_of(field: str) -> tuple[str, Mapping[str, str]] | None:
    """The task and the arguments of paused calls; None for another field."""
    if not field.startswith(_CALLS):
        return None
    name, _, written = field.removeprefix(_CALLS).rpartition("\n")
    where = where_of_text(written)
    return (name, where) if where else None


def where_as_text(where: Mapping[str, str]) -> str:
    """Which calls are meant, in one form; '' for all."""
    return json.dumps(where, sort_keys=True) if where else ""


def where_of_text(text: str) -> Mapping[str, str]:
    """Which calls are meant; none of them are named by what is no such text."""
    with suppress(ValueError, RecursionError):
        return {name: str(value) for name, value in mapping_of(json.loads(text)).items()}
    return {}


def described(kind: Pausable, name: str, where: Mapping[str, str]) -> str:
    """What is paused: `task 'mail.send' where customer=7`."""
    conditions = ", ".join(f"{argument}={text}" for argument, text in sorted(where.items()))
    return f"{kind} {name!r} where {conditions}" if where else f"{kind} {name!r}"
