from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr
from taskiq import InMemoryBroker

from kiqstart.scheduler.table import CronSchedule, IntervalSchedule, Schedule, check_schedules
from kiqstart.tasks.errors import WiringError
from kiqstart.tasks.registration import register_task


def first(schedule: Schedule, after: datetime, count: int) -> list[str]:
    return [f"{due:%m-%d %H:%M:%S}" for due in islice(schedule.occurrences(after), count)]


def interval(**every: int) -> IntervalSchedule:
    return IntervalSchedule(name="tick", task="ping", every=timedelta(**every))


def cron(expression: str, time_zone: str = "UTC") -> CronSchedule:
    return CronSchedule(name="nightly", task="ping", cron=expression, time_zone=time_zone)


def test_an_interval_is_due_on_its_multiples_since_the_epoch() -> None:
    noon = datetime(2026, 5, 1, 12, 0, 17, tzinfo=UTC)
    assert first(interval(seconds=60), noon, 2) == ["05-01 12:01:00", "05-01 12:02:00"]
    assert first(interval(hours=24), noon, 2) == ["05-02 00:00:00", "05-03 00:00:00"]


@given(
    seconds=st.integers(1, 10_000_000),
    start=st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  # bounds are naive by contract
    restarts=st.lists(st.floats(0.001, 1e7), max_size=5),
)
def test_an_interval_keeps_its_phase_whenever_it_is_asked(
    seconds: int, start: datetime, restarts: Sequence[float]
) -> None:
    schedule = interval(seconds=seconds)
    due = next(schedule.occurrences(start))
    assert start < due <= start + timedelta(seconds=seconds)
    for pause in restarts:
        later = next(schedule.occurrences(start + timedelta(seconds=pause)))
        assert (later - due) % timedelta(seconds=seconds) == timedelta(0)


def test_cron_runs_a_skipped_local_time_once_at_the_next_valid_one() -> None:
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert first(cron("30 2 * * *", "Europe/Berlin"), before, 3) == [
        "03-29 01:00:00",
        "03-30 00:30:00",
        "03-31 00:30:00",
    ]


def test_cron_runs_a_doubled_local_time_once() -> None:
    before = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert first(cron("30 2 * * *", "Europe/Berlin"), before, 2) == ["10-25 00:30:00", "10-26 01:30:00"]


@pytest.mark.parametrize(
    ("expression", "zone", "problem"),
    [
        ("99 99 * * *", "UTC", "cron '99 99 * * *': "),
        ("*/0 * * * *", "UTC", "cron '*/0 * * * *': "),
        ("every day", "UTC", "cron 'every day': "),
        ("0 0 30 2 *", "UTC", "cron '0 0 30 2 *'"),
        ("0 2 * * *", "Mars/Olympus", "time zone 'Mars/Olympus' is not known"),
        ("0 2 * * *", "../etc/passwd", "time zone '../etc/passwd' is not known"),
        ("0 2 * * *", "", "time zone '' is not known"),
    ],
)
def test_a_cron_that_cannot_be_names_its_line(expression: str, zone: str, problem: str) -> None:
    with pytest.raises(WiringError) as refused:
        CronSchedule(name="nightly", task="ping", cron=expression, time_zone=zone)
    where, _, what = str(refused.value).partition(": schedule 'nightly': ")
    assert where.startswith("tests/kiqstart/unit/scheduler/test_table.py:")
    assert what.startswith(problem)
    assert "\n" not in what


@pytest.mark.parametrize("seconds", [0, -1, 0.5, 1.5])
def test_an_interval_is_whole_seconds(seconds: float) -> None:
    with pytest.raises(WiringError, match="must be a whole number of seconds, at least one"):
        IntervalSchedule(name="tick", task="ping", every=timedelta(seconds=seconds))


@pytest.fixture
def broker() -> InMemoryBroker:
    async def clean(days: Annotated[int, Field(ge=0)] = 30, note: object = None) -> None: ...

    broker = InMemoryBroker()
    register_task(broker, clean, name="clean")
    return broker


def scheduled(task: str = "clean", name: str = "daily", **arguments: object) -> IntervalSchedule:
    return IntervalSchedule(name=name, task=task, every=timedelta(days=1), arguments=arguments)


def test_a_table_that_fits(broker: InMemoryBroker) -> None:
    check_schedules([scheduled(days=3), scheduled(name="another")], broker)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ([scheduled(task="wash")], r"schedule 'daily': there is no task 'wash'; there are: clean"),
        ([scheduled(weeks=3)], r"arguments do not fit clean: got an unexpected keyword argument 'weeks'"),
        (
            [scheduled(days=-1)],
            r"arguments do not fit clean: argument days: Input should be greater than or equal to 0",
        ),
        ([scheduled(note=object())], r"test_table\.py:\d+: schedule 'daily': Unable to serialize"),
        ([scheduled(note=[float("nan")])], r"test_table\.py:\d+: schedule 'daily': argument note: nan cannot be sent"),
        (
            [scheduled(note=SecretStr("x"))],
            r"schedule 'daily': argument note: SecretStr, which is written as asterisks",
        ),
        ([scheduled(note=iter([1]))], r"schedule 'daily': list_iterator can be read only once"),
        ([scheduled(), scheduled()], r"schedule 'daily': the name stands at .*test_table\.py:\d+ already"),
    ],
)
def test_a_table_that_does_not_fit(broker: InMemoryBroker, table: list[Schedule], problem: str) -> None:
    with pytest.raises(WiringError, match=problem):
        check_schedules(table, broker)
