"""Workers that died: where each was, and what it had said that it ran.

Whoever ends a dead worker's lease (fence.lua) remembers it in the same step, since what was known of the worker goes
then.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast

from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.running import RunningTask, running_of
from kiqstart.broker.worker_info import place_of, queues_of

if TYPE_CHECKING:
    from kiqstart.broker.broker import StreamBroker
    from kiqstart.tasks.sealing.secrets import Secrets

MOST_LOST_KEPT: Final = 50
SECONDS_LOST_KEPT: Final = 7 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class LostWorker:
    """A worker whose lease was over and whose tasks were given to others.

    Args:
        name: its name in Redis, which log lines have.
        host: of the machine; '' where it has not said so.
        pid: of the process there; 0 where it has not said so.
        queues: those that it took.
        last_beat: when it renewed its lease last.
        lost: when another worker found it dead.
        running: what it had run for a second or longer, or of which it had said how far it is; the longest first, up
            to 100.
    """

    name: str
    host: str
    pid: int
    queues: Sequence[str]
    last_beat: datetime
    lost: datetime
    running: Sequence[RunningTask]


async def read_lost_workers(broker: "StreamBroker", *, seconds: int = SECONDS_LOST_KEPT) -> list[LostWorker]:
    """The workers that were lost in these last seconds, up to seven days, the last one first; 50 are kept."""
    redis = broker.connection.redis
    now, _ = await redis.time()
    oldest = (now - seconds) * 1000
    found: list[tuple[bytes, float]] = []
    with without_foreign_keys():
        found = await redis.zrange(broker.keys.lost_workers, 0, -1, withscores=True)
    workers = [_read(text, lost, broker.secrets) for text, lost in reversed(found) if lost >= oldest]
    return [one for one in workers if one is not None]


def _read(text: bytes, lost: float, secrets: "Secrets") -> LostWorker | None:
    with suppress(ValueError, TypeError, AttributeError, KeyError, OverflowError, OSError, RecursionError):
        said = cast("Mapping[str, str]", json.loads(text.decode(errors="replace")))
        info = said["info"].encode()
        host, pid = place_of(info)
        return LostWorker(
            name=str(said["worker"]),
            host=host,
            pid=pid,
            queues=queues_of(info),
            last_beat=_time(float(said["beat"])),
            lost=_time(lost),
            running=running_of(said["running"].encode(), secrets),
        )
    return None


def _time(milliseconds: float) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
