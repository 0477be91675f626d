"""Whatever lies in Redis under our names, commands end with lines of their own that harm no terminal."""

import asyncio
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from tests.end_to_end.cli.in_process import Kiqstart
from tests.fuzz.odd import BYTES, damaged
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
    ("runs", "list"),
    ("runs", "list", "--json", "--text", "x"),
    ("runs", "list", "--state", "waiting"),
    ("runs", "list", "--state", "delayed", "--argument", "x=1"),
    ("runs", "list", "--state", "running", "--json"),
    ("runs", "show", "an-id"),
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
SOUND_BLOCK = b"""1f default kiq-1-5000 host:7
1701250000000-0 1701250000000 7 1 0 63 0 7
{"task_id": "an-id", "task_name": "x\\u001b[2J", "args": [null]}E: \x1b[2J"""
BLOCKS = damaged(st.just(SOUND_BLOCK)) | BYTES
# Keys of the queue that hold something of another type.
WRONG = st.sets(
    st.sampled_from(["dead", "runs", "failed_runs", "dropped", "workers", "queues", "delayed", "schedules", "layout"]),
    max_size=2,
)
_numbers = count()


async def put(
    url: str, keys: QueueKeys, found: Plant, letters: list[dict[str, bytes]], blocks: list[bytes], wrong: set[str]
) -> None:
    async with AsyncRedis.from_url(url) as redis:
        await plant(redis, keys, found)
        for block in (SOUND_BLOCK, *blocks):
            await redis.xadd(keys.failed_runs, {"runs": block})
        for fields in letters:
            if fields:
                for stream in (keys.dead, keys.name):
                    await redis.xadd(stream, fields)  # type: ignore[arg-type]  # redis-py's type is invariant
                await redis.hset(keys.delayed_messages, ODD, fields.get("data", b""))
                await redis.zadd(keys.delayed, {ODD: float("-inf")})
        for name in wrong:
            await redis.delete(getattr(keys, name))
            await redis.set(getattr(keys, name), b"\xff\x1b")


@settings(
    # `make fuzz SURFACE=cli` tries as many as there is time for.
    max_examples=4,
    # Each takes a second, so an example is shown as it was found.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(found=PLANTS, letters=st.lists(LETTERS, max_size=3), blocks=st.lists(BLOCKS, max_size=3), wrong=WRONG)
def test_no_command_breaks(
    kiqstart_here: Kiqstart,
    redis_url: str,
    key_prefix: str,
    found: Plant,
    letters: list[dict[str, bytes]],
    blocks: list[bytes],
    wrong: set[str],
) -> None:
    prefix = f"{key_prefix}-{next(_numbers)}"
    asyncio.run(put(redis_url, TasksSettings(key_prefix=prefix).keys, found, letters, blocks, wrong))
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


NAMED = [
    *(("dead", "show"), ("dead", "retry"), ("dead", "purge"), ("dead", "list", "--reason")),
    *(("schedules", one) for one in ("next", "pause", "resume", "run", "remove")),
    *(("ping", "--timeout", "0.1", "--queue"), ("check", "--role"), ("migrate", "--to"), ("worker",)),
]


@pytest.mark.parametrize("command", NAMED, ids=" ".join)
def test_a_name_of_nothing_that_there_is_is_one_line_however_long(
    kiqstart_here: Kiqstart, command: tuple[str, ...]
) -> None:
    done = kiqstart_here(*command, "n" * 8192)
    assert done.code == 1
    assert done.err.startswith("kiqstart: ")
    assert done.err.count("\n") == 1
    assert len(done.err) < 4100


@pytest.mark.parametrize("command", [*NAMED, ("cancel",), ("--app",)], ids=" ".join)
def test_an_argument_that_no_id_and_no_name_can_be_is_refused(
    kiqstart_here: Kiqstart, redis_url: str, key_prefix: str, command: tuple[str, ...]
) -> None:
    done = kiqstart_here(*command, "n" * 8193)
    assert done.code == 1
    assert done.err == f"kiqstart: the argument '{'n' * 50}'… has 8193 bytes; ids and names have 8192 at most\n"
    with Redis.from_url(redis_url) as redis:
        assert redis.keys(f"{{{key_prefix}}}*") == []


def test_an_id_that_cannot_be_is_told_and_others_are_cancelled(kiqstart_here: Kiqstart) -> None:
    done = kiqstart_here("cancel", "some__progress", "other")
    assert done.code == 1
    assert done.err.startswith("kiqstart: task 'some__progress': an id may not end with '__progress'")
    assert done.out == "'other' is not known; should it be sent within a day, it will be cancelled\n"


@pytest.mark.parametrize(("name", "value"), [("KIQSTART_APP", "a" * 100_000), ("TASKS_QUEUES", "q" * 100_000)])
def test_a_setting_of_any_length_is_quoted_in_part(kiqstart_here: Kiqstart, name: str, value: str) -> None:
    done = kiqstart_here("dead", "list", environment={name: value})
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert len(done.err) < 4100
