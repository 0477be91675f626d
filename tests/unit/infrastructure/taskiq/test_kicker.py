"""Delays and times of one call."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest
from taskiq import InMemoryBroker

from kiqstart.infrastructure.taskiq.kicker import Kicker
from kiqstart.infrastructure.taskiq.labels import MAX_DELAY_SECONDS


class Nowhere(tzinfo):
    """A time zone that does not know its offset."""

    def utcoffset(self, _: datetime | None) -> None:
        return None

    dst = tzname = utcoffset


@pytest.fixture
def kicker() -> Kicker[[], None]:
    return Kicker(task_name="work", broker=InMemoryBroker(), labels={})


@pytest.mark.parametrize(
    ("seconds", "delay"),
    [(60, 60.0), (0.5, 0.5), (0, 0.0), (-5, 0.0), (-1e306, 0.0), (float("-inf"), 0.0), (MAX_DELAY_SECONDS,) * 2],
)
def test_a_delay_in_seconds_of_which_less_than_none_is_now(
    kicker: Kicker[[], None], seconds: float, delay: float
) -> None:
    assert kicker.after(seconds).labels == {"delay": delay}


@pytest.mark.parametrize("seconds", [1e306, float("inf"), float("nan"), MAX_DELAY_SECONDS + 1, 1_900_000_000])
async def test_a_delay_of_more_than_ten_years_is_refused_when_it_is_sent(
    kicker: Kicker[[], None], seconds: float
) -> None:
    with pytest.raises(ValueError, match=r"^after\(.*\): a task can be due in at most 3650 days \(315360000 s\)$"):
        await kicker.after(seconds).kiq()


@pytest.mark.parametrize(
    "time",
    [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    ],
)
def test_a_time_before_the_epoch_is_now(kicker: Kicker[[], None], time: datetime) -> None:
    assert kicker.at(time).labels == {"due": 0.0}


def test_a_time_within_ten_years_is_kept(kicker: Kicker[[], None]) -> None:
    time = datetime.now(UTC) + timedelta(days=3649)
    assert kicker.at(time).labels == {"due": time.timestamp()}


@pytest.mark.parametrize(
    "time",
    [
        datetime.max.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
        datetime.now(UTC) + timedelta(days=3651),
    ],
)
async def test_a_time_more_than_ten_years_ahead_is_refused_when_it_is_sent(
    kicker: Kicker[[], None], time: datetime
) -> None:
    with pytest.raises(ValueError, match=r"^at\(.*\): a task can be due in at most 3650 days$"):
        await kicker.at(time).kiq()


@pytest.mark.parametrize("time", [datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=Nowhere())])  # noqa: DTZ001  # the point
def test_a_time_without_a_time_zone_is_refused(kicker: Kicker[[], None], time: datetime) -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        kicker.at(time)
