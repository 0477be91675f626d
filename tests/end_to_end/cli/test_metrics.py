import asyncio
import os
import re
import time
from pathlib import Path

import pytest
from redis import Redis
from taskiq import TaskiqMessage
from tests.deliveries import delivery_with
from tests.end_to_end.cli.in_process import Kiqstart

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.delivery import Delivery
from kiqstart.broker.run_stats import RunStats
from kiqstart.cli.application import stream_broker
from kiqstart.redis.commands import blocking_commands
from todo_service.delivery.tasks.schedules import SCHEDULES

# Whoever adds a schedule to the service, as its README has it, breaks nothing here.
NAMES = [schedule.name for schedule in SCHEDULES]
METRICS = Path(__file__).parents[3] / "docs/metrics.md"
LINE = re.compile(r'(\w+)\{((?:\w+="[^"]*",?)*)\} (\S+)')
# Beside these, each has a service.
LABELS = ("queue", "kind", "name", "task", "outcome", "state", "schedule", "policy", "le")


def read(text: str) -> dict[str, float]:
    """Values by name and the labels that are not the service's: `kiqstart_tasks_waiting default`."""
    found = [LINE.fullmatch(line) for line in text.splitlines() if not line.startswith("# ")]
    assert all(found), text
    values: dict[str, float] = {}
    for one in found:
        assert one is not None
        labels = dict(re.findall(r'(\w+)="([^"]*)"', one[2]))
        assert labels["service"]
        values[" ".join([one[1], *(labels[name] for name in LABELS if name in labels)])] = float(one[3])
    return values


async def send_some() -> None:
    async with stream_broker() as broker:
        ping = broker.find_task("ping")
        assert ping is not None
        await ping.kiq()
        await ping.kicker().with_labels(queue_name="slow").kiq()
        await ping.kicker().with_labels(delay=600).kiq()


def test_metrics_count_what_waits_and_say_when_schedules_are_due(
    scheduled: Kiqstart, redis_url: str, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKS_QUEUES", "default,slow")
    asyncio.run(send_some())
    scheduled("schedules", "pause", "cleanup-sessions-daily")
    tasks = f"{{{key_prefix}}}:tasks"
    with Redis.from_url(redis_url) as redis:
        redis.xadd(f"{tasks}:dead", {"data": "no JSON"})
        redis.set(f"{tasks}:dead:dropped", 7)
        redis.zadd(f"{tasks}:schedules:due", {"cleanup-completed-todos-daily": (time.time() - 90) * 1000})
    done = scheduled("metrics")
    assert (done.code, done.err) == (0, "")
    values = read(done.out)
    assert values["kiqstart_tasks_waiting default"] == values["kiqstart_tasks_waiting slow"] == 1
    assert values["kiqstart_tasks_running default"] == values["kiqstart_workers"] == 0
    assert values["kiqstart_tasks_delayed"] == values["kiqstart_dead_letters"] == values["kiqstart_schedulers"] == 1
    assert values["kiqstart_dead_letters_dropped_total"] == 7
    assert 0 <= values["kiqstart_scheduler_last_poll_age_seconds"] < 30
    assert 90 <= values["kiqstart_schedules_overdue_seconds"] < 120
    assert (values["kiqstart_schedules active"], values["kiqstart_schedules paused"]) == (len(NAMES) - 1, 1)
    due = {name: value for name, value in values.items() if "_next_due_" in name}
    name = "kiqstart_schedule_next_due_timestamp_seconds"
    assert set(due) == {f"{name} {one}" for one in NAMES if one != "cleanup-sessions-daily"}
    assert abs(due[f"{name} ping-every-minute"] - time.time()) < 90
    assert done.out.count("# TYPE ") == done.out.count("# HELP ") == 35
    assert "# TYPE kiqstart_dead_letters_dropped_total counter\n" in done.out


def test_every_metric_is_documented(kiqstart_here: Kiqstart) -> None:
    printed = re.findall(r"^# TYPE (\w+) ", kiqstart_here("metrics").out, re.MULTILINE)
    assert re.findall(r"^\| `(kiqstart_\w+)", METRICS.read_text(), re.MULTILINE) == printed


def checks_in(printed: str) -> dict[str, str]:
    return dict(re.findall(r'^kiqstart_check_ok{check="(.*?)",.*} (.*)$', printed, re.MULTILINE))


def test_metrics_say_how_the_database_is(kiqstart_on_database: Kiqstart, tmp_path: Path) -> None:
    assert set(checks_in(kiqstart_on_database("metrics").out).values()) == {"1.0"}
    nowhere = {"DATABASE_URL": f"postgresql+asyncpg:///x?host={tmp_path}"}
    assert checks_in(kiqstart_on_database("metrics", environment=nowhere).out) == {"PostgreSQL": "0.0"}


def test_metrics_say_nothing_of_a_database_that_was_not_named(kiqstart_here: Kiqstart) -> None:
    assert checks_in(kiqstart_here("metrics").out) == {}


def test_metrics_of_an_empty_redis_say_that_nobody_is_there(kiqstart_here: Kiqstart) -> None:
    values = read(kiqstart_here("metrics").out)
    assert values["kiqstart_scheduler_last_poll_age_seconds"] == float("inf")
    assert values["kiqstart_schedulers"] == values["kiqstart_workers"] == values["kiqstart_tasks_waiting default"] == 0


async def run_some() -> None:
    """As a worker, of tasks of which some fail."""
    async with stream_broker() as broker:
        stats = RunStats(
            blocking_commands(Redis.from_url(os.environ["REDIS_URL"])),
            broker.keys,
            to_redis_ms=lambda _: round(time.time() * 1000),
        )
        for number in range(5):
            delivery = delivered(broker, number)
            stats.started(delivery, 0.0)
            delivery.seconds = 0.3
            stats.ran(delivery)
            delivery.has_failed = number < 2
            stats.settled(delivery)
        stats.flush()


def delivered(broker: StreamBroker, number: int) -> Delivery:
    message = TaskiqMessage(task_id=f"{number}", task_name="report", labels={}, args=[], kwargs={})
    entry = f"{round(time.time() * 1000) - 2000}-0"
    return delivery_with(stream=broker.keys.name, entry=entry, message=message, is_started=True)


def test_that_tasks_fail_is_seen_and_how_long_they_take(kiqstart_on_database: Kiqstart) -> None:
    assert (
        "\nok      runs        0 in the last one to two hours, of which none failed"
        in kiqstart_on_database("check").out
    )
    asyncio.run(run_some())
    done = kiqstart_on_database("check")
    assert "\nnote    runs        in the last one to two hours report: 2 failed of 5 runs" in done.out
    values = read(kiqstart_on_database("metrics").out)
    assert values["kiqstart_tasks_started_total report"] == 5
    assert values["kiqstart_tasks_ended_total report failed"] == 2
    assert values["kiqstart_tasks_ended_total report succeeded"] == 3
    assert values["kiqstart_task_run_seconds_bucket report 0.1"] == 0
    assert values["kiqstart_task_run_seconds_bucket report 0.5"] == 5
    assert (
        values["kiqstart_task_run_seconds_bucket report +Inf"] == values["kiqstart_task_run_seconds_count report"] == 5
    )
    assert values["kiqstart_task_run_seconds_sum report"] == 1.5
    assert values["kiqstart_task_wait_seconds_bucket report 1.0"] == 0
    assert values["kiqstart_task_wait_seconds_sum report"] >= 10
