"""Brokers with a queue of the test's own, and workers in the test's own process."""

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.typing import EncodableT, FieldT
from taskiq.serializers import ORJSONSerializer

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.logged_lines import LoggedLinesHandler, keep_logged_lines
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.receiver.stream_receiver import StreamReceiver
from kiqstart.broker.retries import RetryMiddleware
from kiqstart.tasks.arguments import ArgumentsMiddleware
from kiqstart.tasks.sealing.sealing import Sealing
from kiqstart.tasks.uniqueness import UniquenessMiddleware

# A beat each fifth of a second moves delayed messages and finds what was cancelled.
QUICK: Final = StreamOptions(lease=1.0)
DEFAULT: Final[Mapping[str, int]] = {"default": 1}


class Brokers:
    """Makes brokers of one queue, with the service's middlewares, and shuts them down.

    Args:
        url: where Redis is.
        queue_name: key of the stream of the default queue.
    """

    def __init__(self, url: str, queue_name: str) -> None:
        self.url: Final = url
        self.queue_name: Final = queue_name
        self._made: list[StreamBroker] = []

    def __call__(
        self,
        *,
        url: str | None = None,
        queues: Mapping[str, int] = DEFAULT,
        options: StreamOptions = QUICK,
        sealing: Sealing | None = None,
        result_ttl: float | None = 600.0,
    ) -> StreamBroker:
        """Make another one."""
        broker = StreamBroker(
            url or self.url,
            queue_name=self.queue_name,
            queues=queues,
            options=options,
            sealing=sealing,
            result_ttl=result_ttl,
        )
        self._made.append(broker)
        return broker.with_serializer(ORJSONSerializer()).with_middlewares(
            ArgumentsMiddleware(), UniquenessMiddleware(), RetryMiddleware(broker)
        )

    async def close(self) -> None:
        """Shut all of them down."""
        for broker in self._made:
            await broker.shutdown()


@asynccontextmanager
async def working(
    broker: StreamBroker,
    *,
    max_async_tasks: int = 100,
    **options: Any,  # noqa: ANN401  # the receiver's
) -> AsyncGenerator[StreamReceiver]:
    """Run the broker's tasks in this event loop until the end of the block, which waits for those that run."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    finish = asyncio.Event()
    options.setdefault("wait_tasks_timeout", 5.0)
    receiver = StreamReceiver(broker, max_async_tasks=max_async_tasks, **options)
    listening = asyncio.create_task(receiver.listen(finish))
    try:
        await broker.consume()
        yield receiver
    finally:
        finish.set()
        await listening
        await broker.shutdown()
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def keeping_lines(most: int) -> Generator[None]:
    """Keep what runs log, as a worker process does, until the end of the block."""
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for _ in range(2):
        keep_logged_lines(most)
    assert sum(isinstance(one, LoggedLinesHandler) for one in root.handlers) == 1
    yield
    root.handlers = [one for one in root.handlers if not isinstance(one, LoggedLinesHandler)]


async def keys_of(redis: Redis, queue_name: str) -> set[str]:
    """The names after the queue's own of all keys in Redis that it has."""
    keys = cast("list[str]", await redis.keys(f"{queue_name}*"))
    return {key.removeprefix(queue_name).removeprefix(":") for key in keys}


async def letters_of(redis: Redis, broker: StreamBroker) -> list[dict[str, str]]:
    """The fields of the dead letters, oldest first."""
    return [fields for _, fields in await entries_of(redis, broker.keys.dead)]


async def entries_of(redis: Redis, stream: str) -> list[tuple[str, dict[str, str]]]:
    """The ids and fields of a stream's entries, oldest first."""
    return cast("list[tuple[str, dict[str, str]]]", await redis.xrange(stream))


async def move_entry(redis: Redis, entry: str, fields: dict[str, str], source: str, target: str) -> str:
    """Move an entry as nobody but a test does, and give its new id."""
    await redis.xdel(source, entry)
    return cast("str", await redis.xadd(target, cast("dict[FieldT, EncodableT]", fields)))
