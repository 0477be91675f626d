"""What waits in Redis, read without changing anything."""

from collections.abc import AsyncIterator
from typing import Final, cast

from pydantic import SecretStr
from redis.asyncio import Redis, RedisCluster
from taskiq import TaskiqMessage

from kiqstart.broker.keys import QueueKeys
from kiqstart.redis.client import create_redis
from kiqstart.redis.commands import AsyncCommands, async_commands
from kiqstart.redis.settings import RedisSettings
from kiqstart.tasks.labels import DEFAULT_QUEUE

# A delayed message is stored with its stream, unique key, task and layout.
_DELAYED: Final = """
local messages = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    local stored = redis.call('HGET', KEYS[2], id)
    if stored then
        local parts = cmsgpack.unpack(stored)
        table.insert(messages, parts[4])
    end
end
return messages
"""


def redis_client(url: str) -> Redis | RedisCluster:
    """A client of a server, of the master behind Sentinels, or of a cluster, to be closed with `aclose()`."""
    return create_redis(RedisSettings(redis_url=SecretStr(url)))


async def waiting_messages(redis_url: str, stream: str) -> list[TaskiqMessage]:
    """Read a stream's messages, oldest first: those that wait and those that are being run."""
    redis = redis_client(redis_url)
    try:
        return [TaskiqMessage.model_validate_json(data) for _, data in await _entries(async_commands(redis), stream)]
    finally:
        await redis.aclose()


async def queued_messages(redis_url: str, queue_name: str) -> list[TaskiqMessage]:
    """Read the messages of all queues of a broker: those that wait or run, oldest first, then the delayed ones.

    Args:
        redis_url: as in REDIS_URL.
        queue_name: the broker's.
    """
    keys = QueueKeys(queue_name)
    redis = redis_client(redis_url)
    try:
        entries: list[tuple[tuple[int, ...], bytes]] = []
        for stream in {*keys.locations(DEFAULT_QUEUE), *[name async for name in _streams(redis, keys)]}:
            entries += await _entries(async_commands(redis), stream)
        delayed = await cast("Redis", redis).eval(_DELAYED, 2, keys.delayed, keys.delayed_messages)
    finally:
        await redis.aclose()
    messages = [data for _, data in sorted(entries)] + cast("list[bytes]", delayed)
    return [TaskiqMessage.model_validate_json(data) for data in messages]


async def _streams(redis: Redis | RedisCluster, keys: QueueKeys) -> AsyncIterator[str]:
    """The streams of queues that have a name of their own."""
    found = cast("AsyncIterator[bytes]", redis.scan_iter(match=keys.stream("*"), count=1000, _type="stream"))
    async for name in found:
        yield name.decode()


async def _entries(redis: AsyncCommands, stream: str) -> list[tuple[tuple[int, ...], bytes]]:
    """The messages of a stream, each with its place in time."""
    entries = await redis.xrange(stream)
    return [(tuple(map(int, entry.split(b"-"))), fields[b"data"]) for entry, fields in entries]
