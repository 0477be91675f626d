"""Random courses of events for schedulers and their store."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from functools import cache

from hypothesis import strategies as st
from tests.kiqstart.integration.scheduler.expected_sends import Plan
from tests.kiqstart.unit.scheduler.brute_force import cron_times

from kiqstart.scheduler.definition import CatchUp, ScheduleDefinition
from kiqstart.scheduler.occurrence import to_ms
from kiqstart.scheduler.triggers import EPOCH, CronTrigger, DateTrigger, IntervalTrigger, Trigger

# A day before clocks change: Berlin's in spring and in autumn, and one by half an hour.
BEGINNINGS = (
    datetime(2026, 3, 28, 13, 0, 30, tzinfo=UTC),
    datetime(2026, 10, 24, 12, 59, 59, tzinfo=UTC),
    datetime(2026, 4, 4, 2, tzinfo=UTC),
)
SPAN = timedelta(days=3)
_MARGIN = timedelta(days=1)
_CRONS = (
    ("*/15 2 * * *", "Europe/Berlin"),
    ("0,30 2 * * *", "Europe/Berlin"),
    ("*/20 * * * *", "Europe/Berlin"),
    ("15,45 1 * * *", "Australia/Lord_Howe"),
    ("* * * * *", "UTC"),
    ("0 */6 * * *", "America/New_York"),
)


class Kind(Enum):
    PASS = auto()
    TICK = auto()
    START = auto()
    KILL = auto()
    FREEZE = auto()
    THAW = auto()
    LOSE_ANSWER = auto()
    LOSE_REQUEST = auto()
    EMPTY = auto()
    SET_CLOCK = auto()
    DEPLOY = auto()
    ADD = auto()
    REMOVE = auto()
    PAUSE = auto()
    RESUME = auto()
    REPEAT = auto()
    """A script arrives twice."""
    START_OLDER = auto()
    """A scheduler that cannot read all schedules."""
    SNAPSHOT = auto()
    RESTORE = auto()


@dataclass(frozen=True)
class Event:
    """`which` chooses among what there is; `by` is a time to pass, or by which the clock is set, in milliseconds."""

    kind: Kind
    which: int = 0
    by: int = 0


@dataclass(frozen=True)
class Scenario:
    begin: datetime
    tables: tuple[tuple[ScheduleDefinition, ...], ...]
    dynamic: tuple[ScheduleDefinition, ...]
    events: tuple[Event, ...]


def plan_of(definition: ScheduleDefinition, begin: datetime) -> Plan:
    """With all times from a day before the beginning to a day after the end."""
    first, last = to_ms(begin - _MARGIN), to_ms(begin + SPAN + _MARGIN)
    timing = definition.timing
    if isinstance(timing, DateTrigger):
        return Plan(definition, [to_ms(timing.at)])
    if isinstance(timing, IntervalTrigger):
        every = round(timing.every.total_seconds() * 1000)
        start = to_ms(timing.start)
        return Plan(definition, range(start + (first - start) // every * every, last, every))
    return Plan(definition, _cron_plan(timing.expression, timing.time_zone, begin))


@cache
def _cron_plan(expression: str, time_zone: str, begin: datetime) -> list[int]:
    times = cron_times(expression, time_zone, after=begin - _MARGIN, until=begin + SPAN + _MARGIN)
    return [to_ms(time) for time in times]


@st.composite
def _definitions(draw: st.DrawFn, begin: datetime, name: str, *, is_dynamic: bool) -> ScheduleDefinition:
    kinds: list[st.SearchStrategy[Trigger]] = [
        st.builds(
            IntervalTrigger,
            every=st.sampled_from([1, 7, 60, 3600, 86_400]).map(lambda seconds: timedelta(seconds=seconds)),
            start=st.just(begin if is_dynamic else EPOCH),
        ),
        st.sampled_from(_CRONS).map(lambda cron: CronTrigger(expression=cron[0], time_zone=cron[1])),
    ]
    if is_dynamic:
        shifts = st.integers(-3_600_000, 86_400_000).map(lambda shift: timedelta(milliseconds=shift))
        kinds.append(shifts.map(lambda shift: DateTrigger(at=begin + shift)))
    return ScheduleDefinition(
        name=name,
        task="ping",
        timing=draw(st.one_of(kinds)),
        catch_up=draw(st.sampled_from(CatchUp)),
        max_catch_up=draw(st.sampled_from([1, 3, 5])),
        misfire_grace_time=draw(st.sampled_from([None, None, 1, 5, 3600])),
        is_dynamic=is_dynamic,
    )


_TIMES = st.one_of(st.integers(0, 1500), st.integers(0, 70_000), st.integers(0, 7_200_000), st.integers(0, 86_400_000))
_CLOCK_STEPS = st.one_of(st.integers(-59_000, 59_000), st.integers(-10_000_000, 10_000_000))
_EVENTS = st.one_of(
    st.builds(Event, st.just(Kind.PASS), by=_TIMES),
    st.builds(Event, st.just(Kind.TICK), which=st.integers(0, 5)),
    st.builds(Event, st.just(Kind.SET_CLOCK), by=_CLOCK_STEPS),
    st.builds(Event, st.sampled_from(Kind), which=st.integers(0, 5), by=_TIMES),
    st.builds(Event, st.sampled_from([Kind.TICK, Kind.FREEZE, Kind.THAW, Kind.LOSE_ANSWER]), which=st.integers(0, 5)),
)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    begin = draw(st.sampled_from(BEGINNINGS))
    tables = tuple(
        tuple(
            draw(_definitions(begin, f"table-{number}", is_dynamic=False)) for number in range(4) if draw(st.booleans())
        )
        for _ in range(2)
    )
    dynamic = tuple(draw(_definitions(begin, f"added-{number}", is_dynamic=True)) for number in range(3))
    return Scenario(begin, tables, dynamic, tuple(draw(st.lists(_EVENTS, min_size=5, max_size=40))))
