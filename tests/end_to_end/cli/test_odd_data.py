"""Whatever lies in Redis under our names, commands end with lines of their own that harm no terminal."""

import asyncio
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from tests.end_to_end.cli.in_process import Kiqstart
from tests.kiqstart.integration.scheduler.hostile import PLANTS, Plant
from tests.kiqstart.integration.scheduler.test_bad_neighbours import plant

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.settings import TasksSettings

ODD = "\x1b[2J\n\u202e\x00"
COMMANDS = [
    ("schedules", "list"),
    ("schedules", "next", "bad"),
    ("schedules", "pause", "bad"),
    ("schedules", "run", "bad"),
    ("dead", "list"),
    ("dead", "retry", "--all"),
    ("metrics",),
    ("check", "--role", "monitor"),
]
LETTERS = st.fixed_dictionaries(
    {},
    optional={
        "data": st.binary(max_size=30)
        | st.just(b'{"task_id":"\\u001b[2J","task_name":"\\n","labels":{},"args":[],"kwargs":{}}'),
        "queue": st.sampled_from([ODD.encode(), b"", b"\xff"]),
        "reason": st.sampled_from([ODD.encode(), b"malformed", b"\xff"]),
        "detail": st.sampled_from([ODD.encode(), b"\xff", b'Traceback\n  File "x"\nE: \x1b[2J']),
        "deliveries": st.sampled_from([b"x", b"9" * 5000, b"-1"]),
        "first": st.sampled_from([b"x", b"9" * 30, b"-1", b"9" * 5000]),
        "last": st.sampled_from([b"x", b"9" * 30, b"-1", b"9" * 5000]),
    },
)
# Keys of the queue that hold something of another type.
WRONG = st.sets(st.sampled_from(["dead", "dropped", "workers", "queues", "delayed", "schedules", "layout"]), max_size=2)
_numbers = count()


async def put(url: str, keys: QueueKeys, found: Plant, letters: list[dict[str, bytes]], wrong: set[str]) -> None:
    async with Redis.from_url(url) as redis:
        await plant(redis, keys, found)
        for fields in letters:
            if fields:
                await redis.xadd(keys.dead, fields)  # type: ignore[arg-type]  # redis-py's type is invariant
        for name in wrong:
            await redis.delete(getattr(keys, name))
            await redis.set(getattr(keys, name), b"\xff\x1b")


@settings(
    max_examples=8,
    # Each takes a second, so an example is shown as it was found.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(found=PLANTS, letters=st.lists(LETTERS, max_size=3), wrong=WRONG)
def test_no_command_breaks(
    kiqstart_here: Kiqstart,
    redis_url: str,
    key_prefix: str,
    found: Plant,
    letters: list[dict[str, bytes]],
    wrong: set[str],
) -> None:
    prefix = f"{key_prefix}-{next(_numbers)}"
    asyncio.run(put(redis_url, TasksSettings(key_prefix=prefix).keys, found, letters, wrong))
    for command in COMMANDS:
        done = kiqstart_here(*command, environment={"TASKS_KEY_PREFIX": prefix})
        assert done.code in (0, 1), done
        for line in (done.out + done.err).split("\n"):
            assert line.isprintable(), (command, line)
        if done.code == 1:
            assert all(line.startswith(("kiqstart: ", "FAILED  ")) for line in done.err.splitlines()), (
                command,
                done.err,
            )


@pytest.mark.parametrize(
    "url", ["postgresql://me@h:99999/x", "postgresql://me@/x?host=a,b&port=1", f"postgresql://me@{'a' * 99}/x"]
)
@pytest.mark.parametrize("command", ["retention", "check", "migrate", "ping"])
def test_an_odd_address_is_one_line(kiqstart_here: Kiqstart, url: str, command: str) -> None:
    done = kiqstart_here(command, environment={"DATABASE_URL": url})
    assert done.code == 1
    assert "settings: DATABASE_URL " in done.err
    assert done.err.count("\n") == 1
