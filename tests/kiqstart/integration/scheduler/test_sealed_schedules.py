"""Schedules in Redis that nobody has signed are not sent, though their scheduler could sign the messages."""

import base64
import os
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import cast

import pytest
import pytest_asyncio
from taskiq import ScheduledTask
from tests.kiqstart.integration.scheduler.timeline import Timeline

from kiqstart.broker import Sealing, StreamBroker
from kiqstart.scheduler.conversions import ScheduleError
from kiqstart.scheduler.definition import ScheduleDefinition
from kiqstart.scheduler.overview import overview
from kiqstart.scheduler.schedules import Schedules
from kiqstart.scheduler.store import Entry
from kiqstart.scheduler.triggers import IntervalTrigger

TICK = ScheduleDefinition(name="tick", task="work", timing=IntervalTrigger(every=timedelta(seconds=10)))


@pytest_asyncio.fixture
async def maker(redis_url: str, key_prefix: str) -> AsyncGenerator[StreamBroker]:
    keys = Sealing(signing_keys=f"one:{base64.b64encode(os.urandom(32)).decode()}")
    broker = StreamBroker(redis_url, f"{{{key_prefix}}}:tasks", sealing=keys)
    broker.register_task(work, "work")
    yield broker
    await broker.shutdown()


async def work(number: int = 0) -> None:
    raise NotImplementedError(number)


async def test_only_schedules_that_were_signed_are_sent(
    timeline: Timeline, maker: StreamBroker, caplog: pytest.LogCaptureFixture
) -> None:
    await Schedules(maker, timeline.store).add(
        ScheduledTask(task_name="work", labels={}, args=[7], kwargs={}, schedule_id="added", interval=10)
    )
    [signed] = [data for data in await timeline.store.definitions(["added"]) if isinstance(data, bytes)]
    planted = {
        "stranger": TICK.model_copy(update={"name": "stranger"}).dump(),
        "changed": signed.replace(b'"added"', b'"changed"'),
        "copied": signed,
        "other": signed.replace(b"[7]", b"[8]"),
    }
    due = timeline.now + 5000
    await timeline.store.add([Entry(name=name, data=data, due_ms=due) for name, data in planted.items()], script="x")
    ticker = timeline.ticker([TICK])
    for _ in range(4):
        timeline.pass_ms(10_000)
        await ticker.tick()
    assert {task_id.partition("@")[0] for task_id in await timeline.sent()} == {"tick", "added"}
    for name in planted:
        assert f"Schedule {name} cannot be read here" in caplog.text
    assert "it is not signed (TASKS_SIGNING_REQUIRED)" in caplog.text
    entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", await timeline.redis.xrange(timeline.keys.name))
    for _, fields in entries:
        assert maker.formatter.loads(fields[b"data"]).task_name == "work"


async def test_one_that_nobody_has_signed_is_not_run_by_hand_and_listed_as_unreadable(
    timeline: Timeline, maker: StreamBroker
) -> None:
    data = TICK.model_copy(update={"name": "stranger"}).dump()
    await timeline.store.add([Entry(name="stranger", data=data, due_ms=timeline.now + 5000)], script="x")
    with pytest.raises(ScheduleError, match="schedule 'stranger' cannot be read: it is not signed"):
        await Schedules(maker, timeline.store).run("stranger")
    assert await timeline.sent() == []
    seen = await overview(timeline.store, maker, limit=10)
    assert (list(seen.added), seen.unreadable) == ([], ["stranger"])
