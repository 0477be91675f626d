"""Reads delayed messages, the ones that are due first before the others."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.redis_text import text_of_name
from kiqstart.broker.run_pages import BYTES_AT_ONCE
from kiqstart.broker.script import Script
from kiqstart.redis.commands import AsyncCommands, Value

_READ_DELAYED: Final = Script[list[list[bytes]]]("read_delayed")
# In one step of Redis, in which it answers nobody else.
_AT_ONCE: Final = 200


@dataclass(frozen=True, kw_only=True)
class DelayedMessage:
    """A message that is due later.

    Args:
        queue: where it goes then.
    """

    queue: str
    data: bytes


async def read_delayed(redis: AsyncCommands, keys: QueueKeys, ids: Sequence[bytes]) -> list[DelayedMessage | None]:
    """The messages of some ids, or the first of them where these are large; None for what is gone or cannot be read.

    Raises:
        RedisError: Redis is away.
    """
    answer: list[list[bytes]] = [[] for _ in ids]
    with without_foreign_keys():
        arguments: list[Value] = [BYTES_AT_ONCE, *ids]
        answer = await _READ_DELAYED(redis, [keys.delayed_messages], arguments)
    return [
        DelayedMessage(queue=keys.queue_of(text_of_name(stored[0])), data=stored[2]) if stored else None
        for stored in answer
    ]


async def walk_delayed(redis: AsyncCommands, keys: QueueKeys) -> AsyncGenerator[tuple[float, DelayedMessage | None]]:
    """All delayed messages with when each is due, in milliseconds of Redis' clock; None for what cannot be read.

    Raises:
        RedisError: Redis is away.
    """
    passed = 0
    while True:
        due: list[tuple[bytes, float]] = []
        with without_foreign_keys():
            found = await redis.zrange(keys.delayed, passed, passed + _AT_ONCE - 1, withscores=True)
            due = found
        if not due:
            return
        messages = await read_delayed(redis, keys, [name for name, _ in due])
        for (_, due_ms), message in zip(due, messages, strict=False):
            yield due_ms, message
        passed += len(messages)
