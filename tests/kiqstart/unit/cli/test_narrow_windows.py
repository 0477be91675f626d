"""In a window of 80 columns no table loses a letter of what matters."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console
from rich.table import Table
from taskiq import InMemoryBroker

from kiqstart.broker.acts import Operator, RecordedAct
from kiqstart.broker.fleet import QueueView, WorkerView
from kiqstart.cli.acts import acts_table
from kiqstart.cli.fleet import queues_table, workers_table
from kiqstart.cli.retention.history import history_table
from kiqstart.cli.schedules.listing import schedules_table
from kiqstart.cli.tasks.listing import tasks_table
from kiqstart.retention.history import PastRun
from kiqstart.retention.report import StopReason
from kiqstart.scheduler.definition import ScheduleDefinition
from kiqstart.scheduler.schedules import ScheduleState
from kiqstart.scheduler.store import LastStep, Outcome
from kiqstart.scheduler.table import CronSchedule
from kiqstart.scheduler.triggers import CronTrigger
from kiqstart.tasks.registration import register_task

NOW = datetime(2026, 7, 1, 5, 0, tzinfo=UTC)
CRON = "0,15,30,45 0-6,18-23 1,15,28 * *"


def name(word: str) -> str:
    return f"{word}." * 12


async def send(user_id: int, *, a_long_name_of_an_argument: str = "and a long default") -> None: ...


def tasks() -> Table:
    broker = InMemoryBroker()
    register_task(broker, send, name=name("task"), max_retries=12, retry_delay=5400)
    schedule = CronSchedule(
        name="b", task=name("task"), cron=CRON, time_zone="America/Argentina/Buenos_Aires", arguments={"user_id": 2}
    )
    return tasks_table(list(broker.get_all_tasks().values()), [schedule], now=NOW)


def schedules() -> Table:
    definition = ScheduleDefinition(
        name=name("schedule"),
        task=name("task"),
        timing=CronTrigger(expression=CRON, time_zone="America/Argentina/Buenos_Aires"),
    )
    last = LastStep(due_ms=0, done_ms=86_400_000, task_id="x", outcome=Outcome.SKIPPED)
    state = ScheduleState(definition=definition, due=NOW - timedelta(days=500), is_paused=False, last=last)
    return schedules_table([state], {name("schedule"): "unreadable"}, now=NOW)


def workers() -> Table:
    one = WorkerView(
        name="kiq-791b22cc8d3a4c55",
        host=name("host"),
        pid=4_194_304,
        queues=[name("queue"), name("other")],
        slots=1000,
        slots_used=1000,
        in_flight=12_345,
        running=[],
        seconds_since_beat=90.0,
        loop_lag=75.0,
        blocked_seconds=75.0,
        is_alive=True,
        is_ending=False,
        runs_suspects=True,
    )
    return workers_table([one])


def queues() -> Table:
    return queues_table(
        [QueueView(name=name("queue"), waiting=123_456_789, running=12_345, oldest_seconds=1e6, workers=1234)]
    )


def acts() -> Table:
    one = RecordedAct(
        kind="remove-schedule",
        target=name("target"),
        detail=name("detail"),
        at=NOW,
        by=Operator(user=name("user"), host=name("host")),
        reason=name("reason"),
    )
    return acts_table([one])


def runs() -> Table:
    one = PastRun(
        policy=name("policy"),
        run_id=name("id"),
        started_at=NOW,
        seconds=90.0,
        shards=64,
        deleted=123_456_789_012,
        batches=1_234_567,
        longest_batch=0.25,
        failed=12_345,
        is_running=False,
        is_superseded=False,
        stopped=StopReason.UNDELETABLE,
    )
    return history_table([one])


@pytest.mark.parametrize(
    ("table", "texts"),
    [
        (tasks, [name("task"), "12, 90 min apart", "a_long_name_of_an_argument", "user_id=2", "2026-07-01 "]),
        (schedules, [name("schedule"), name("task"), "unreadable", "skipped, 24 h late", "500 d overdue"]),
        (
            workers,
            [
                "kiq-791b22cc8d3a4c55",
                name("host"),
                "4194304",
                name("queue"),
                name("other"),
                "12345",
                "blocked for 75.0 s",
            ],
        ),
        (queues, [name("queue"), "123456789", "12345", "12 d", "1234", "open"]),
        (runs, [name("policy"), name("id"), "123,456,789,012", "1234567", "12345", "undeletable rows"]),
        (acts, ["remove-schedule", name("target"), name("detail"), name("user"), name("host"), name("reason")]),
    ],
)
def test_nothing_is_cut(table: Callable[[], Table], texts: list[str]) -> None:
    made = table()
    out = io.StringIO()
    Console(file=out, width=80).print(made)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in out.getvalue()
    # The letters of each column, whatever lines they are on.
    columns = cells_of(lines)
    for text in texts:
        wanted = "".join(text.split())
        assert any(wanted in column for column in columns), (text, columns)


def cells_of(lines: list[str]) -> list[str]:
    """What stands in each column, without spaces; a column begins where its title does."""
    title = lines[0]
    starts = [place for place in range(len(title)) if title[place] != " " and (place == 0 or title[place - 1] == " ")]
    return [
        "".join("".join(line[first:end].split()) for line in lines[2:])
        for first in starts
        for end in [*[one for one in starts if one > first], 80]
    ]
