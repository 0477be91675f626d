"""What is in the streams of queues, read by few commands, none of which looks through messages."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar, cast

from redis.exceptions import ResponseError

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.redis_text import as_text
from kiqstart.broker.worker_info import group_of_workers

if TYPE_CHECKING:
    from redis.asyncio import Redis

Answer = TypeVar("Answer")

_NOT_THERE: Final = ("NOGROUP", "no such key", "WRONGTYPE")


@dataclass(frozen=True, kw_only=True)
class StreamView:
    """What is in a stream, and who has some of it.

    Args:
        taken: messages that were ever taken; None where Redis does not count them (before version 7).
        after: the id of the last one that was taken.
        held: how many each worker has.
    """

    entries: int
    taken: int | None
    after: str
    held: Mapping[bytes, int]

    @property
    def running(self) -> int:
        """Messages in workers' hands."""
        return sum(self.held.values())

    @property
    def waiting(self) -> int:
        """Messages that no worker has yet."""
        return max(self.entries - self.running, 0)


async def read_streams(redis: "Redis", broker: StreamBroker, queues: Sequence[str]) -> Mapping[str, StreamView]:
    """The streams of queues; of those that are empty only that, of those of new messages also how many were taken."""
    group, keys = await group_of_workers(redis, broker.keys, broker.consumer_group_name), broker.keys
    names = keys.all_locations(queues)
    async with redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.xlen(name)
        lengths = [answer_or(one, 0) for one in await pipe.execute(raise_on_error=False)]
    mains = {keys.stream(queue) for queue in queues}
    wanted = [name for name, length in zip(names, lengths, strict=True) if length or name in mains]
    async with redis.pipeline(transaction=False) as pipe:
        for name in wanted:
            pipe.xinfo_groups(name)
            pipe.xpending(name, group)
        found = cast("list[object]", await pipe.execute(raise_on_error=False))
    known = {name: (found[2 * at], found[2 * at + 1]) for at, name in enumerate(wanted)}
    return {
        name: _stream(length, group, *known.get(name, ([], {}))) for name, length in zip(names, lengths, strict=True)
    }


def _stream(entries: int, group: str, groups: object, pending: object) -> StreamView:
    ours: Mapping[str, object] = next(
        (one for one in answer_or(groups, list[dict[str, object]]()) if as_text(one["name"]) == group),
        dict[str, object](),
    )
    held = answer_or(pending, dict[str, list[dict[str, object]] | None]()).get("consumers") or []
    taken = ours.get("entries-read")
    return StreamView(
        entries=entries,
        taken=taken if isinstance(taken, int) else None,
        after=as_text(ours.get("last-delivered-id", "0-0")),
        held={cast("bytes", one["name"]): cast("int", one["pending"]) for one in held},
    )


async def oldest_waiting(
    redis: "Redis", broker: StreamBroker, queues: Sequence[str], streams: Mapping[str, StreamView], now_ms: int
) -> Mapping[str, float]:
    """Seconds since the message was put there that waits longest, by queue; queues in which none waits are left out."""
    wanted = [(queue, name) for queue in queues for name in broker.keys.locations(queue) if streams[name].waiting]
    async with redis.pipeline(transaction=False) as pipe:
        for _, name in wanted:
            pipe.xrange(name, min=f"({streams[name].after}", count=1)
        found = cast("list[object]", await pipe.execute(raise_on_error=False)) if wanted else []
    ages: dict[str, float] = {}
    for (queue, _), answer in zip(wanted, found, strict=True):
        for entry, _ in answer_or(answer, list[tuple[bytes, object]]()):
            age = max((now_ms - int(entry.partition(b"-")[0])) / 1000, 0.0)
            ages[queue] = max(ages.get(queue, 0.0), age)
    return ages


def held_by_workers(streams: Mapping[str, StreamView]) -> Mapping[bytes, int]:
    """How many messages each worker has."""
    held = Counter[bytes]()
    for one in streams.values():
        held.update(one.held)
    return held


def answer_or(answer: object, default: Answer) -> Answer:
    """What Redis has answered; the default where there is no such key, or a stranger's."""
    if isinstance(answer, ResponseError) and any(why in str(answer) for why in _NOT_THERE):
        return default
    if isinstance(answer, Exception):
        raise answer
    return cast("Answer", answer)
