from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis.strategies import datetimes, sampled_from, times

from kiqstart.retention.ceilings import Ceilings, DailyWindow
from kiqstart.retention.errors import PolicyError
from kiqstart.retention.policy import PaceKind, RetentionPolicy
from kiqstart.retention.settings import RetentionSettings
from todo_service.core.todo.models import Todo

POLICY = RetentionPolicy(name="todos", model=Todo, predicate=Todo.is_completed.is_(True))


@given(begin=times(), end=times(), moment=datetimes(), zone=sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"]))
def test_a_window_and_its_complement_share_the_day(begin: time, end: time, moment: datetime, zone: str) -> None:
    if begin == end:
        return
    window = DailyWindow(begin=begin, end=end, time_zone=zone)
    complement = DailyWindow(begin=end, end=begin, time_zone=zone)
    at = moment.replace(tzinfo=UTC)
    assert window.is_open(at) is not complement.is_open(at)


def test_a_window_over_midnight_is_that_of_its_time_zone() -> None:
    window = DailyWindow(begin=time(23), end=time(5), time_zone="Europe/Berlin")
    midnight = datetime(2026, 7, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    hours = [hour for hour in range(24) if window.is_open((midnight + timedelta(hours=hour)).astimezone(UTC))]
    assert hours == [0, 1, 2, 3, 4, 23]


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        (replace(POLICY, ceilings=Ceilings(rows=0)), "its ceiling `rows` must be above 0, not 0"),
        (replace(POLICY, ceilings=Ceilings(batch_seconds=float("nan"))), "`batch_seconds` must be above 0, not nan"),
        (replace(POLICY, window=DailyWindow(begin=time(1), end=time(1))), "its window must be two times of day"),
        (
            replace(POLICY, window=DailyWindow(begin=time(1), end=time(2), time_zone="Berlin")),
            "its window is in 'Berlin', which is no time zone",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(policy: RetentionPolicy, problem: str) -> None:
    with pytest.raises(PolicyError) as refused:
        policy.check()
    assert problem in str(refused.value)


def test_of_two_ceilings_the_lower_holds_and_the_policys_pace() -> None:
    policy = replace(
        POLICY, pace=PaceKind.FULL, ceilings=Ceilings(rows_per_second=50, batch_rows=300, batch_seconds=0.5)
    )
    settings = RetentionSettings(batch_rows=200, pace=PaceKind.GENTLE).for_policy(policy)
    assert (settings.pace, settings.rows_per_second, settings.batch_rows) == (PaceKind.FULL, 50, 200)
    assert settings.batch_seconds == 0.1
    assert RetentionSettings().for_policy(POLICY) == RetentionSettings()
