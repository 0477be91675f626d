"""What the labels of a message may do that anybody has written: nothing to others, to its own what is said here."""

import asyncio
import json
from collections import Counter
from typing import Any, Final

import pytest
from redis.asyncio import Redis
from tests.deadlines import HANG
from tests.fuzz.judge import check_printed
from tests.kiqstart.integration.broker.brokers import Brokers, keys_of, letters_of, working

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions
from kiqstart.observability.log_formatter import HarmlessFormatter
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.sent_task import SentTask
from kiqstart.testing import eventually

LABELS: Final = [
    *("ack_type", "timeout", "retries", "max_retries", "retry_delay", "retry_backoff", "retry_max_delay"),
    *("retry_jitter", "types_of_exceptions", "unacknowledged", "pool_crashes", "queue_name", "unique", "delay", "due"),
    *("send", "unique_template", "is_anew", "misfit_since", "schedule", "other\n\x1b[2J"),
]
ODD: Final = [
    *(None, True, -1, 10**30, 1e306, float("nan"), [1], {"a": [1]}, "", "nan", "-1", "1e400", "9" * 5000),
    *("low:suspects", "\x1b[2J\n", "\ud800", "{x.__class__.__init__.__globals__}", "n" * 10_000),
]
MANY: Final = 4
SURROGATE: Final = ODD.index("\ud800")


class Ran:
    """Tasks that note whose messages they had."""

    def __init__(self, broker: StreamBroker) -> None:
        self.counts: Counter[str] = Counter()
        self.may_end = asyncio.Event()
        self.broker = broker
        self.echo = register_task(broker, self._echo, name="echo")
        register_task(broker, self._fails, name="fails")
        self.holds = register_task(broker, self._holds, name="holds", unique="key")

    async def _echo(self, who: str) -> str:
        self.counts[who] += 1
        return who

    async def _fails(self, who: str) -> None:
        self.counts[who] += 1
        # Whoever may have a million tries is content at last.
        if self.counts[who] < MANY:
            raise ValueError(who)

    async def _holds(self, who: str) -> None:
        self.counts[who] += 1
        await self.may_end.wait()

    async def put(self, redis: Redis, task: str, task_id: str, **labels: object) -> SentTask[Any]:
        """Write a message as whoever may write to Redis, and give its task."""
        message = {"task_id": task_id, "task_name": task, "labels": labels, "args": [task_id], "kwargs": {}}
        await redis.xadd(self.broker.keys.name, {"data": json.dumps(message)})
        return SentTask(task_id, self.broker.result_backend)


@pytest.fixture
def ran(brokers: Brokers) -> Ran:
    return Ran(brokers(options=StreamOptions(lease=1.0, misfit_grace=0.1, quarantine=False)))


async def run_all(redis: Redis, ran: Ran) -> None:
    """Let a worker take what waits, until nothing does."""
    keys = ran.broker.keys

    async def is_over() -> bool:
        return not any([await redis.xlen(stream) for stream in keys.streams("default")])

    async with working(ran.broker):
        await eventually(is_over)


async def letters(redis: Redis, ran: Ran) -> dict[str, str]:
    """Why each task is a dead letter."""
    found = await letters_of(redis, ran.broker)
    return {json.loads(one["data"])["task_id"]: one["reason"] for one in found}


@pytest.mark.parametrize("label", LABELS)
async def test_an_odd_value_changes_nothing_but_its_own_tries(
    redis: Redis, ran: Ran, label: str, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = [number for number in range(len(ODD)) if number != SURROGATE]
    before = await ran.echo.kiq("before")
    for number, value in enumerate(ODD):
        await ran.put(redis, "echo", f"echo-{number}", **{label: value})
        await ran.put(redis, "fails", f"fails-{number}", **{"max_retries": 1, "retry_delay": 0, label: value})
    after = await ran.echo.kiq("after")
    await run_all(redis, ran)
    assert [(await one.get_result()).return_value for one in (before, after)] == ["before", "after"]
    assert [ran.counts[f"echo-{number}"] for number in numbers] == [1] * len(numbers)
    most = MANY if label == "max_retries" else 2
    assert {ran.counts[f"fails-{number}"] for number in numbers} <= {*range(1, most + 1)}
    # JSON has no lone surrogate.
    reasons = await letters(redis, ran)
    malformed = {task_id for task_id, reason in reasons.items() if reason == "malformed"}
    assert malformed == {f"echo-{SURROGATE}", f"fails-{SURROGATE}"}
    assert set(reasons.values()) <= {"malformed", "retries-exhausted"}
    waiting = await redis.zrange(ran.broker.keys.delayed, 0, -1)
    assert waiting == [] or label == "retry_delay"
    # No stream of another name, and no key of another task's.
    names = await keys_of(redis, ran.broker.keys.name)
    assert not [name for name in names if name.startswith(("queue:", "unique"))]
    planned = HarmlessFormatter("%(message)s")
    check_printed("\n".join(planned.format(one) for one in caplog.records if one.exc_info is None))


@pytest.mark.parametrize(
    ("labels", "runs", "reason"),
    [
        ({}, 1, None),
        ({"max_retries": 2, "retry_delay": 0}, 3, "retries-exhausted"),
        ({"max_retries": 2, "retry_delay": 0, "retries": 1}, 2, "retries-exhausted"),
        ({"max_retries": 1, "retry_delay": 0, "queue_name": "low", "types_of_exceptions": "x"}, 2, "retries-exhausted"),
        ({"ack_type": "manual", "unacknowledged": 10**6}, 1, "not-acknowledged"),
        ({"ack_type": "when_received", "unacknowledged": 10**6}, 1, None),
        ({"delay": 3600, "due": 1e12, "schedule": [{"cron": "* * * * *"}], "unique_template": "{who}"}, 1, None),
        ({"pool_crashes": 10**6, "misfit_since": 1, "send": "another", "is_anew": True}, 1, None),
    ],
    ids=str,
)
async def test_a_label_that_makes_sense_is_about_its_own_runs(
    redis: Redis, ran: Ran, labels: dict[str, object], runs: int, reason: str | None
) -> None:
    await ran.put(redis, "fails", "odd", **labels)
    await run_all(redis, ran)
    assert ran.counts == {"odd": runs}
    assert (await letters(redis, ran)).get("odd") == reason


async def test_a_message_that_names_anothers_unique_key_neither_has_it_nor_lets_it_go(redis: Redis, ran: Ran) -> None:
    async with working(ran.broker):
        holder = await ran.holds.kiq("holder")
        odd = await ran.put(redis, "echo", "odd", unique="key")
        failing = await ran.put(redis, "fails", "failing", unique="key", max_retries=1, retry_delay=0.1)
        assert (await odd.wait_result(timeout=HANG)).return_value == "odd"
        assert (await failing.wait_result(timeout=HANG)).is_err
        assert (await ran.holds.kiq("second")).task_id == holder.task_id
        ran.may_end.set()
        await holder.wait_result(timeout=HANG)
        third = await ran.holds.kiq("third")
        await third.wait_result(timeout=HANG)
    assert ran.counts == {"holder": 1, "odd": 1, "failing": 2, "third": 1}


async def test_a_time_limit_cuts_its_own_run_only(redis: Redis, ran: Ran) -> None:
    async with working(ran.broker):
        holder = await ran.holds.kiq("holder")
        cut = await ran.put(redis, "holds", "cut", timeout=0.05)
        assert "TimeoutError" in type((await cut.wait_result(timeout=HANG)).error).__name__
        ran.may_end.set()
        assert not (await holder.wait_result(timeout=HANG)).is_err
