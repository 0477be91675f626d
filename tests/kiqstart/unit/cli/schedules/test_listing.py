from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console
from taskiq import InMemoryBroker, TaskiqResult

from kiqstart.cli.schedules.listing import schedules_table
from kiqstart.operations.schedules import shown_result
from kiqstart.scheduler.definition import ScheduleDefinition
from kiqstart.scheduler.occurrence import to_ms
from kiqstart.scheduler.schedules import ScheduleState
from kiqstart.scheduler.store import LastStep, Outcome
from kiqstart.scheduler.triggers import CronTrigger, IntervalTrigger, Trigger

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
NIGHTLY = CronTrigger(expression="30 2 * * *", time_zone="Europe/Berlin")


def a_step(outcome: Outcome = Outcome.SENT, *, ago: timedelta = timedelta(hours=1), late: int = 12) -> LastStep:
    due = to_ms(NOW - ago)
    return LastStep(due_ms=due, done_ms=due + late, task_id="a-task", outcome=outcome)


def a_schedule(
    *, timing: Trigger = NIGHTLY, name: str = "nightly", due: datetime | None = None, last: LastStep | None = None
) -> ScheduleState:
    definition = ScheduleDefinition(name=name, task="report", kwargs={"pages": 3}, timing=timing)
    return ScheduleState(definition=definition, due=due, is_paused=due is None, last=last)


def shown(*schedules: ScheduleState, width: int = 120) -> list[str]:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(schedules_table(schedules, {"nightly": "ok"}, now=NOW))
    return [line.rstrip() for line in captured.get().splitlines()[2:]]


def words(line: str) -> list[str]:
    return [part.strip() for part in line.split("  ") if part.strip()]


def test_a_schedule_has_two_lines() -> None:
    due = datetime(2026, 7, 2, 0, 30, tzinfo=UTC)
    first, second = shown(a_schedule(due=due, last=a_step()))
    assert words(first) == ["nightly", "30 2 * * *", "07-01 11:00:00 UTC", "ok", "07-02 00:30:00 UTC"]
    assert words(second) == ["report pages=3", "Europe/Berlin", "sent, 12 ms late", "07-02 02:30:00 CEST"]


def test_what_is_paused_or_overdue_or_of_another_year_says_so() -> None:
    hourly = IntervalTrigger(every=timedelta(hours=1))
    lines = shown(
        a_schedule(timing=hourly, last=a_step(Outcome.SKIPPED, ago=timedelta(days=365), late=5000)),
        a_schedule(timing=hourly, due=NOW - timedelta(minutes=5)),
    )
    assert "paused" in lines[0]
    assert "2025-07-01 12:00:00 UTC" in lines[0]
    assert "skipped, 5.0 s late" in lines[1]
    assert lines[3].endswith("5 min overdue")


@pytest.mark.parametrize("width", [80, 120])
def test_a_narrow_window_cuts_no_name(width: int) -> None:
    name = "[bold]\x1b[2J-" + "wide-" * 20
    lines = shown(a_schedule(name=name, due=NOW + timedelta(hours=1), last=a_step()), width=width)
    assert max(map(len, lines)) <= width
    column = "".join(line.split("  ")[0] for line in lines)
    assert column.startswith(r"[bold]\x1b[2J-" + "wide-" * 20)
    assert "12 ms late" in "".join(lines)


async def test_a_word_says_what_became_of_the_last_task() -> None:
    backend = InMemoryBroker().result_backend
    ttl = timedelta(minutes=10)

    async def word(last: LastStep | None) -> str:
        return await shown_result(backend, last, now=NOW, result_ttl=ttl)

    assert await word(None) == "-"
    assert await word(a_step(Outcome.HELD)) == "-"
    assert await word(a_step(ago=timedelta(minutes=9))) == "waiting"
    assert await word(a_step(ago=timedelta(minutes=11))) == "expired"
    await backend.set_result("a-task", TaskiqResult(is_err=False, return_value=1, execution_time=0.0))
    assert await word(a_step()) == "ok"
    await backend.set_result("a-task", TaskiqResult(is_err=True, return_value=None, execution_time=0.0))
    assert await word(a_step()) == "error"
