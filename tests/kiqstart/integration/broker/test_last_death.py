"""Which death of its workers is a task's last one."""

from dataclasses import dataclass

import pytest
from redis.asyncio import Redis
from tests.kiqstart.integration.broker.brokers import Brokers, letters_of

from kiqstart.broker.options import StreamOptions
from kiqstart.broker.run_stats import Outcome
from kiqstart.broker.runs import read_runs
from kiqstart.testing import eventually

DEAD = "kiq-dead-400"
DEAD_WARD = "kiq-wdead-400"


@dataclass(frozen=True, kw_only=True)
class Death:
    """What a dead worker had, and how many dead letters that makes.

    Args:
        had: tasks of one stream.
        before: how many workers had died with each of them before.
    """

    had: int = 1
    before: int = 0
    where: str = "stream"
    worker: str = DEAD
    is_draining: bool = False
    allowed: int = 3
    quarantine: bool = True
    letters: int


@pytest.mark.parametrize(
    "death",
    [
        pytest.param(Death(allowed=1, letters=1), id="the-only-one-and-no-more-is-allowed"),
        pytest.param(Death(allowed=1, had=2, letters=0), id="one-of-two-and-no-more-is-allowed"),
        pytest.param(Death(allowed=1, is_draining=True, letters=0), id="a-deploy"),
        pytest.param(Death(allowed=1, where="suspects", before=1, worker=DEAD_WARD, letters=0), id="no-witness"),
        pytest.param(Death(allowed=1, had=2, quarantine=False, letters=2), id="one-allowed-without-quarantine"),
        pytest.param(Death(before=1, quarantine=False, letters=0), id="the-second-without-quarantine"),
        pytest.param(Death(before=2, where="suspects", quarantine=False, letters=1), id="the-third-without-quarantine"),
        pytest.param(Death(before=3, where="suspects", letters=0), id="the-fourth-where-no-process-can-be-started"),
        pytest.param(Death(before=4, where="suspects", letters=1), id="the-fifth-where-no-process-can-be-started"),
        pytest.param(Death(before=99, where="suspects", worker=DEAD_WARD, letters=0), id="the-hundredth"),
        pytest.param(Death(before=100, where="suspects", worker=DEAD_WARD, letters=1), id="beyond-all-bounds"),
    ],
)
async def test_a_task_is_a_dead_letter_after_the_deaths_that_are_allowed(
    death: Death, brokers: Brokers, redis: Redis
) -> None:
    broker = brokers(options=StreamOptions(lease=1.0, max_deliveries=death.allowed, quarantine=death.quarantine))
    keys, group = broker.keys, broker.consumer_group_name
    stream = getattr(keys, death.where)("default")
    await redis.xgroup_create(stream, group, "0", mkstream=True)
    for _ in range(death.had):
        await redis.xadd(stream, {"data": "{}", "deliveries": death.before})
    await redis.xreadgroup(group, death.worker, {stream: ">"})
    await redis.zadd(keys.workers, {death.worker: 1})
    if death.is_draining:
        await redis.sadd(keys.draining, death.worker)

    async def is_told_of() -> bool:
        pending = await redis.xpending(stream, group)
        return not pending["pending"] and await redis.zscore(keys.workers, death.worker) is None

    await broker.consume()
    await eventually(is_told_of)
    assert len(await letters_of(redis, broker)) == death.letters
    kept = [(run.outcome, run.worker, run.crashes) for run in await read_runs(broker.connection.redis, keys)]
    assert kept == [(Outcome.DEAD, death.worker, death.before)] * death.letters
    left = [await redis.xlen(name) for name in keys.streams("default")]
    assert sum(left) == death.had - death.letters
