from datetime import timedelta
from uuid import UUID

import pytest

from kiqstart.broker.broker import StreamBroker
from kiqstart.redis.url import InvalidRedisUrlError
from kiqstart.tasks.caller_types import shown
from kiqstart.tasks.errors import WiringError
from kiqstart.tasks.task_ids import InvalidTaskIdError


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("queues", ["low"], "write each queue with its weight, such as {'default': 3, 'low': 1}"),
        ("queues", "low", "write each queue with its weight, such as {'default': 3, 'low': 1}"),
        ("queue_name", None, "write a name, as text"),
        ("queue_name", "", "write a name, as text"),
        ("consumer_group_name", 5, "write a name, as text"),
        ("queue_name", "n" * 251, "250 characters at most"),
        ("result_prefix", "n" * 251, "250 characters at most"),
        ("options", {}, "write StreamOptions(…)"),
        ("result_prefix", 5, "write text"),
        ("connect_timeout", "5", "write seconds, above 0"),
        ("connect_timeout", float("nan"), "write seconds, above 0"),
        ("max_connection_pool_size", 0, "write a whole number, above 0"),
    ],
)
def test_an_argument_that_cannot_be_is_refused_in_one_line(name: str, value: object, problem: str) -> None:
    with pytest.raises(WiringError) as caught:
        StreamBroker("redis://localhost", **{name: value})  # type: ignore[arg-type]  # the wrong types are the point
    assert str(caught.value) == f"StreamBroker: {name}={shown(value)}: {problem}"


@pytest.mark.parametrize("ttl", ["3600", timedelta(hours=1), True, float("nan")])
def test_a_time_to_keep_results_that_is_no_number_of_seconds_is_refused(ttl: object) -> None:
    with pytest.raises(WiringError, match=r"^result_ttl=.*: write seconds, "):
        StreamBroker("redis://localhost", result_ttl=ttl)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("url", [None, b"redis://localhost", 5])
def test_a_url_that_is_no_text_is_refused_in_one_line(url: object) -> None:
    with pytest.raises(
        InvalidRedisUrlError, match=r"^the url of the StreamBroker 'taskiq' is no URL of a Redis: write redis://.*$"
    ):
        StreamBroker(url)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("task_id", [None, 5, b"id", UUID(int=0)], ids=repr)
async def test_only_text_is_cancelled(task_id: object) -> None:
    with pytest.raises(TypeError) as caught:
        await StreamBroker("redis://localhost").cancel(task_id)  # type: ignore[arg-type]  # as above
    assert str(caught.value) == f"cancel(…): a task's id is text, not {task_id!r}"


@pytest.mark.parametrize(
    ("task_id", "problem"),
    [
        ("x" * 8193, "its id has 8193 bytes, 8192 at most"),
        ("\u0100" * 4097, "its id has 8194 bytes, 8192 at most"),
        ("\ud800", "its id is not UTF-8: surrogates not allowed"),
        (
            "another__progress",
            "an id may not end with '__progress', which is where the progress of another task is kept",
        ),
    ],
    ids=["long", "wide", "surrogate", "progress"],
)
async def test_an_id_that_no_task_can_have_is_not_kept_as_cancelled(task_id: str, problem: str) -> None:
    # Nobody answers there: it is refused before anything is asked.
    with pytest.raises(InvalidTaskIdError) as caught:
        await StreamBroker("redis://127.0.0.1:1").cancel(task_id)
    assert str(caught.value) == f"task {task_id[:50]!r}: {problem}"


@pytest.mark.parametrize("letter", [None, 5, b"1-1"])
async def test_only_text_names_a_dead_letter(letter: object) -> None:
    letters = StreamBroker("redis://localhost").dead_letters
    for act in (letters.get, letters.retry, letters.purge):
        with pytest.raises(TypeError, match=r"^a dead letter: its id is text, not "):
            await act(letter)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("seconds", ["7d", None, timedelta(days=7), -5, float("nan")])
async def test_letters_are_purged_by_a_number_of_seconds_that_is_not_below_0(seconds: object) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^purge_older_than\(.*\).* a number of seconds"):
        await StreamBroker("redis://localhost").dead_letters.purge_older_than(seconds)  # type: ignore[arg-type]  # as above


def test_an_argument_that_only_taskiq_redis_has_is_refused_in_one_line() -> None:
    with pytest.raises(WiringError, match=r"^StreamBroker has no argument 'maxlen': see StreamOptions"):
        StreamBroker("redis://localhost", maxlen=1000)
