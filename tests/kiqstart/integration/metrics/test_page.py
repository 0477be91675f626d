"""What Prometheus reads: names that anybody may have written, all processes together, and Redis away."""

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis
from tests.kiqstart.integration.broker.brokers import Brokers, working
from tests.kiqstart.integration.broker.wire import wire_to

from kiqstart.metrics import page
from kiqstart.metrics.page import MetricsPage
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually

OF_ALL = ("service", "host", "worker")


def values_of(text: bytes) -> dict[tuple[str, ...], float]:
    """Values by name and labels but the service's and those of workers."""
    values: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for one in family.samples:
            labels = [value for label, value in sorted(one.labels.items()) if label not in OF_ALL]
            values[one.name, *labels] = one.value
    return values


async def test_a_worker_says_how_busy_it_is(brokers: Brokers) -> None:
    broker, reader = brokers(), brokers()
    async with working(broker, max_async_tasks=7):

        async def is_said() -> bool:
            text, _ = await MetricsPage(broker=reader).text()
            return ("kiqstart_worker_slots",) in values_of(text)

        await eventually(is_said)
        text, content_type = await MetricsPage(broker=reader).text()
        values = values_of(text)
        assert content_type.startswith("text/plain; version=0.0.4")
        assert (values["kiqstart_worker_slots",], values["kiqstart_worker_slots_used",]) == (7, 0)
        assert 0 <= values["kiqstart_worker_loop_lag_seconds",] < 10
        assert values["kiqstart_queue_workers", "default"] == values["kiqstart_workers",] == 1
        text, content_type = await MetricsPage(broker=reader).text("application/openmetrics-text; version=1.0.0")
        assert content_type.startswith("application/openmetrics-text")
        assert text.endswith(b"# EOF\n")


async def test_odd_names_stay_in_their_lines_and_what_never_ran_is_0(brokers: Brokers, redis: Redis) -> None:
    broker = brokers()

    async def work() -> None: ...

    register_task(broker, work, name="never")
    odd = b'a "b"\\ \xff\x1b[31m'
    await redis.hset(broker.keys.stats, odd + b"\nstarted", "3")
    await redis.hset(broker.keys.stats, b"no number\nsent", "x")
    await redis.hset(broker.keys.retention_stats, mapping={"old\nrows": "5", "old\nlast_success": "soon", "bad": "1"})
    await redis.hset(broker.keys.schedule_stats, mapping={"daily\nsent": "2", "daily\nunknown": "1", "x": "y"})
    text, _ = await MetricsPage(broker=broker, policies=["new"]).text()
    values = values_of(text)
    assert [value for name, value in values.items() if name[0] == "kiqstart_tasks_started_total" and value] == [3]
    assert b"\x1b" not in text
    assert values["kiqstart_tasks_ended_total", "failed", "never"] == 0
    assert values["kiqstart_retention_rows_total", "old"] == 5
    assert values["kiqstart_retention_last_success_timestamp_seconds", "old"] == 0
    assert values["kiqstart_retention_rows_total", "new"] == 0
    assert values["kiqstart_schedule_times_total", "sent", "daily"] == 2


async def test_whoever_asks_within_a_second_shares_what_was_read(brokers: Brokers, redis_url: str) -> None:
    async with wire_to(redis_url) as wire:
        shared = MetricsPage(broker=brokers(url=wire.url))
        texts = await asyncio.gather(*(shared.text() for _ in range(20)))
        assert wire.count("SMEMBERS") < 5
        assert len(set(texts)) == 1


async def test_without_redis_it_says_that_and_nothing_else(
    brokers: Brokers, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "_SECONDS_SHARED", 0.0)
    async with wire_to(redis_url) as wire:
        made = MetricsPage(broker=brokers(url=wire.url))
        wire.is_down = True
        text, _ = await made.text()
        assert values_of(text) == {("kiqstart_redis_up",): 0}
        wire.is_down = False
        text, _ = await made.text()
        assert values_of(text)["kiqstart_redis_up",] == 1
