"""Messages as taskiq makes them, with delays and times of one call."""

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskiq import InMemoryBroker
from taskiq.kicker import AsyncKicker

from kiqstart.tasks.bulk import Call
from kiqstart.tasks.kicker import Kicker
from kiqstart.tasks.labels import MAX_DELAY_SECONDS


class Nowhere(tzinfo):
    """A time zone that does not know its offset."""

    def utcoffset(self, _: datetime | None) -> None:
        return None

    dst = tzname = utcoffset


@pytest.fixture
def kicker() -> Kicker[[], None]:
    return Kicker(task_name="work", broker=InMemoryBroker(), labels={})


LABELS = st.dictionaries(
    st.sampled_from(["timeout", "types_of_exceptions", "mine"]) | st.text(),
    st.one_of(
        st.integers(),
        st.text(),
        st.floats(),
        st.booleans(),
        st.binary(),
        st.just((LookupError,)),
        st.uuids(),
        st.lists(st.integers()),
    ),
)


@given(labels=LABELS, args=st.lists(st.integers() | st.text()), kwargs=st.dictionaries(st.text(), st.integers()))
async def test_a_message_is_as_taskiq_makes_it(
    labels: dict[str, object], args: list[object], kwargs: dict[str, object]
) -> None:
    broker = InMemoryBroker()
    theirs: AsyncKicker[..., None] = AsyncKicker("work", broker, dict(labels))
    ours: AsyncKicker[..., None] = Kicker("work", broker, dict(labels))
    # taskiq makes the message in this method alone.
    expected, made = (one.with_task_id("an-id")._prepare_message(*args, **kwargs) for one in (theirs, ours))
    assert repr(made) == repr(expected)


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


@pytest.mark.parametrize("seconds", [None, "soon", "5", timedelta(seconds=5), True])
def test_a_delay_that_is_no_number_is_refused_in_one_line(kicker: Kicker[[], None], seconds: object) -> None:
    with pytest.raises(TypeError) as caught:
        kicker.after(seconds)  # type: ignore[arg-type]  # the wrong types are the point
    assert str(caught.value) == f"after(…) takes a number of seconds, not {seconds!r}"


@pytest.mark.parametrize("time", [None, "2026-01-01", 5.0, date(2026, 1, 1)])
def test_a_time_that_is_no_datetime_is_refused_in_one_line(kicker: Kicker[[], None], time: object) -> None:
    with pytest.raises(TypeError) as caught:
        kicker.at(time)  # type: ignore[arg-type]  # as above
    assert str(caught.value) == f"at(…) takes a datetime with a time zone, not {time!r}"


@pytest.mark.parametrize("value", [5, b"low", UUID(int=0)])
def test_an_id_and_a_queue_that_are_no_text_are_refused_in_one_line(kicker: Kicker[[], None], value: object) -> None:
    with pytest.raises(TypeError) as caught:
        kicker.with_task_id(value)  # type: ignore[arg-type]  # as above
    assert str(caught.value) == f"with_task_id(…): a task's id is text, not {value!r}"
    with pytest.raises(TypeError) as caught:
        kicker.with_labels(queue_name=value)  # type: ignore[arg-type]  # as above
    assert str(caught.value) == f"with_labels(queue_name=…): a queue's name is text, not {value!r}"


@pytest.mark.parametrize("label", ["delay", "due"])
@pytest.mark.parametrize("value", [b"1", [1], timedelta(seconds=5)])
def test_a_label_of_seconds_that_is_neither_number_nor_text_is_refused_as_it_was_given(
    kicker: Kicker[[], None], label: str, value: object
) -> None:
    with pytest.raises(TypeError) as caught:
        kicker.with_labels(**{label: value})  # type: ignore[arg-type]  # as above
    assert str(caught.value) == f"with_labels({label}=…) takes a number of seconds, not {value!r}"


async def test_calls_that_are_not_several_are_refused_in_one_line(kicker: Kicker[[], None]) -> None:
    wrong: list[Any] = [None, Call((), {})]
    for calls in wrong:
        with pytest.raises(TypeError, match=r"^kiq_many\(…\) takes calls, such as \[.*\], not .*$"):
            await kicker.kiq_many(calls)


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
