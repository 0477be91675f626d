"""How tasks fared in each minute of the last hour, as workers have counted it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_text import text_of_name, whole_number
from kiqstart.broker.run_stats import PROBLEMS_FIELD, Outcome
from kiqstart.redis.commands import AsyncCommands

MINUTES: Final = 60
_MINUTE_MS: Final = 60_000


@dataclass(frozen=True, kw_only=True)
class MinuteStats:
    """What all workers together have counted in a minute; a run counts in the minute of the beat that follows it.

    Args:
        began: when the minute began.
        started: runs that began.
        ended: how many runs ended how.
        waited: seconds that the messages of those that began were in their queues, all together.
        problems: runs that did not succeed, but for cancelled ones, by task.
    """

    began: datetime
    started: int
    ended: Mapping[Outcome, int]
    waited: float
    problems: Mapping[str, int]

    @property
    def mean_wait(self) -> float:
        """Seconds; 0 where no run began."""
        return self.waited / self.started if self.started else 0.0


async def read_minutes(redis: AsyncCommands, keys: QueueKeys) -> Sequence[MinuteStats]:
    """Each of the last `MINUTES` minutes, the oldest first; the last one is the one that runs."""
    seconds, _ = await redis.time()
    times = [seconds * 1000 - before * _MINUTE_MS for before in reversed(range(MINUTES))]
    async with redis.pipeline(transaction=False) as pipe:
        for now_ms in times:
            pipe.hgetall(keys.stats_of_minute(now_ms))
        # What a stranger has put in place of one is no count.
        answers = await pipe.execute(raise_on_error=False)
    return [_parsed(now_ms, answer) for now_ms, answer in zip(times, answers, strict=True)]


def _parsed(now_ms: int, answer: object) -> MinuteStats:
    counted = cast("dict[bytes, bytes]", answer) if isinstance(answer, dict) else {}
    counts: dict[str, int] = {}
    problems: dict[str, int] = {}
    for raw, value in counted.items():
        task, _, what = text_of_name(raw).rpartition("\n")
        number = whole_number(value.decode(errors="replace"), 0)
        if what == PROBLEMS_FIELD:
            problems[task] = number
        else:
            counts[what] = number
    return MinuteStats(
        began=datetime.fromtimestamp(now_ms // _MINUTE_MS * 60, UTC),
        started=counts.get("started", 0),
        ended={outcome: counts[outcome] for outcome in Outcome if outcome in counts},
        waited=counts.get("wait:us", 0) / 1e6,
        problems=problems,
    )
