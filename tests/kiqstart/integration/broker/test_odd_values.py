"""Every public call that takes a time, a duration, a name or a size says in one line what is wrong with an odd one."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from inspect import isawaitable
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError
from taskiq.exceptions import SendTaskError

from kiqstart import OperatorError, ResultTimeoutError, conceal, register_task
from kiqstart.broker import StreamBroker, StreamOptions, count_tasks
from kiqstart.retention import Ceilings, DailyWindow, RunLimits
from kiqstart.retention.run_options import check_count, check_run_options
from kiqstart.retention.target import TargetError
from kiqstart.scheduler import CronSchedule, DurableScheduleSource, IntervalSchedule

URL: Final = "redis://127.0.0.1:1/0"
ODD: Final[tuple[Any, ...]] = (
    *(float("nan"), float("inf"), float("-inf"), -1, -0.5, 0, 0.001, 1.5, 2**31, 2**63, 10**400, 1e308, 1 + 1j),
    *(True, False, None, object, b"x", [], {}, ["x"], Decimal("NaN"), Decimal(5), UUID(int=1)),
    *("", "x", "5", "\0", "\ud800", "a\nb\x1b[2J", "n" * 100_000),
    *(timedelta(milliseconds=1), timedelta.max, timedelta.min, date(2027, 1, 1), time(1)),
    *(datetime(2027, 1, 1), datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),  # noqa: DTZ001  # the point
    *(
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=12))),
    ),
)
# What a caller catches: nothing of a library's.
REFUSALS: Final = (TypeError, ValueError, OperatorError, TargetError, SendTaskError, ResultTimeoutError)
Calls = Mapping[str, Callable[[Any], object]]


async def double(number: int) -> int:
    return number * 2


def register_anew(**options: Any) -> None:  # noqa: ANN401  # of any option
    register_task(StreamBroker(URL), double, **options)


def made(
    kind: Callable[..., Any], /, then: Callable[[Any], object] = bool, **known: object
) -> Callable[[str], Callable[[Any], object]]:
    """Takes the name of an argument, and then its values."""
    return lambda name: lambda value: then(kind(**{**known, name: value}))


def declarations() -> Calls:
    """What an application is made of."""
    broker = StreamBroker(URL)
    register_task(broker, double, name="double")
    line = {"name": "a", "task": "double", "arguments": {"number": 1}}
    interval = made(IntervalSchedule, lambda one: one.definition(broker), every=timedelta(seconds=5), **line)
    cron = made(CronSchedule, lambda one: one.definition(broker), cron="@daily", **line)
    stream_broker, options = made(StreamBroker, url=URL), made(StreamOptions)
    register = made(register_anew, name="double")
    ceilings = made(Ceilings, lambda one: one.check())
    window = made(DailyWindow, lambda one: one.check(), begin=time(1), end=time(2))
    limits = made(RunLimits, lambda one: check_run_options(None, one, 1))
    places = ("url", "queue_name", "queues", "consumer_group_name", "options", "result_ttl", "result_prefix")
    retries = ("max_retries", "retry_delay", "retry_backoff", "retry_max_delay", "retry_jitter", "retry_on", "timeout")
    table = ("name", "task", "arguments", "every", "catch_up", "max_catch_up", "misfire_grace_time")
    return {
        **{f"IntervalSchedule {one}": interval(one) for one in table},
        **{f"CronSchedule {one}": cron(one) for one in ("cron", "time_zone")},
        "occurrences": lambda value: CronSchedule(name="a", task="double", cron="@daily").occurrences(value),
        **{f"StreamOptions {one.name}": options(one.name) for one in fields(StreamOptions)},
        **{f"StreamBroker {one}": stream_broker(one) for one in places},
        **{f"StreamBroker {one}": stream_broker(one) for one in ("connect_timeout", "max_connection_pool_size")},
        **{f"register_task {one}": register(one) for one in ("name", "queue", "unique", "labels", *retries)},
        # Beside itself, so that it is not known to be one in other tests.
        "conceal": lambda value: conceal(value, beside=value),
        **{f"Ceilings {one.name}": ceilings(one.name) for one in fields(Ceilings)},
        **{f"DailyWindow {one.name}": window(one.name) for one in fields(DailyWindow)},
        **{f"RunLimits {one.name}": limits(one.name) for one in fields(RunLimits)},
        "run_id": lambda value: check_run_options(value, RunLimits(), 1),
        "shards": lambda value: check_run_options(None, RunLimits(), value),
        "history": lambda value: check_count("limit", value, least=0),
    }


def requests(broker: StreamBroker) -> Calls:
    """What a program asks of a broker."""
    task, source = register_task(broker, double, name="double"), DurableScheduleSource(broker)
    letters, schedules, sent = broker.dead_letters, source.schedules, task.task("none")

    def labelled(label: str) -> Callable[[Any], object]:
        return lambda value: task.kicker().with_labels(**{label: value}).kiq(1)

    labels = ("timeout", "max_retries", "retry_delay", "retry_backoff", "queue_name", "delay", "due", "unique")
    return {
        "schedule_by_interval": lambda value: task.schedule_by_interval(source, value, 1),
        "schedule_by_time": lambda value: task.schedule_by_time(source, value, 1),
        "schedule_by_cron": lambda value: task.schedule_by_cron(source, value, 1),
        "with_schedule_id": lambda value: task.kicker().with_schedule_id(value).schedule_by_interval(source, 60, 1),
        "with_task_id": lambda value: task.kicker().with_task_id(value).kiq(1),
        "after": lambda value: task.kicker().after(value).kiq(1),
        "at": lambda value: task.kicker().at(value).kiq(1),
        **{f"with_labels {one}": labelled(one) for one in labels},
        "result": sent.result,
        "wait_result": lambda value: sent.wait_result(timeout=value),
        "cancel": broker.cancel,
        "dead_letters.list": letters.list,
        "dead_letters.get": letters.get,
        "dead_letters.retry": letters.retry,
        "dead_letters.purge": letters.purge,
        "dead_letters.purge_many": lambda value: letters.purge_many([value]),
        "dead_letters.purge_older_than": letters.purge_older_than,
        "schedules.get": schedules.get,
        "schedules.pause": schedules.pause,
        "schedules.resume": schedules.resume,
        "schedules.run": schedules.run,
        "delete_schedule": source.delete_schedule,
        "count_tasks": lambda value: count_tasks(broker, value),
        "count_tasks of one": lambda value: count_tasks(broker, [value]),
    }


def problem_of(error: Exception) -> str | None:
    """What is wrong with an error that a caller gets."""
    text = str(error)
    if isinstance(error, ValidationError) or not isinstance(error, REFUSALS):
        return f"{type(error).__name__} is a library's"
    if not text or len(text) > 600 or not text.isprintable():
        return "its text is no line"
    # Python's own words for what some line in the middle of the code could not do.
    return (
        "it says nothing to a caller" if text.startswith(("'", "object of type", "unsupported", "unhashable")) else None
    )


async def told(calls: Calls) -> list[str]:
    found: list[str] = []
    for name, call in calls.items():
        for value in ODD:
            try:
                # Whoever waits for ever is not waited for.
                async with asyncio.timeout(0.05):
                    answer = call(value)
                    if isawaitable(answer):
                        await answer
            except TimeoutError:
                continue
            except Exception as error:  # noqa: BLE001  # it is looked at
                if problem := problem_of(error):
                    found.append(f"{name}, {value!a:.60}: {problem}: {type(error).__name__}: {str(error)[:100]!a}")
    return found


async def test_what_cannot_be_declared_is_refused_in_one_line() -> None:
    assert await told(declarations()) == []


async def test_what_cannot_be_asked_for_is_refused_in_one_line(broker: StreamBroker) -> None:
    assert await told(requests(broker)) == []
