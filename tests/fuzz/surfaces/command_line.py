"""The command line: odd arguments, with whatever lies in Redis."""

import asyncio
import json
from dataclasses import dataclass
from typing import Final, cast

from hypothesis import strategies as st
from redis.asyncio import Redis
from tests.end_to_end.cli.test_odd_data import BLOCKS, LETTERS, put
from tests.fuzz.odd import BYTES, TEXTS, seldom
from tests.fuzz.run_command import check_ended, run_command_line
from tests.fuzz.surface import Ground, Surface
from tests.fuzz.surfaces.messages import put_foreign
from tests.kiqstart.integration.scheduler.hostile import PLANTS, Plant

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.settings import TasksSettings
from kiqstart.testing.servers import delete_keys_of

# Neither those that go on for ever nor those that run what they are given.
_COMMANDS: Final[tuple[tuple[str, ...], ...]] = (
    *(("schedules", one) for one in ("list", "next", "pause", "resume", "run", "remove")),
    *(("dead", one) for one in ("list", "show", "retry", "purge")),
    *(("cancel",), ("ping", "--timeout", "0.1"), ("metrics",), ("check",), ("doctor",), ("tasks",), ("retention",)),
    *(("runs",), ("runs", "list", "--json"), ("runs", "list", "--text"), ("runs", "list", "--since"), ("runs", "show")),
    *(("runs", "list", "--outcome"), ("runs", "list", "--task"), ("runs", "show", "an-id")),
    *(
        ("runs", "retry"),
        ("runs", "retry", "an-id"),
        ("runs", "retry", "--yes", "--text"),
        ("runs", "retry", "--since"),
    ),
    *(("workers",), ("workers", "--json"), ("queues",), ("queues", "--json"), ("acts",), ("acts", "--json")),
    *(("pause",), ("pause", "queue"), ("pause", "task"), ("resume", "queue"), ("resume", "task")),
    *(("tasks", "list", "--json"), ("tasks", "run"), ("tasks", "run", "session.cleanup", "--days-old")),
    *(("check", "--json"), ("doctor", "--json"), ("schedules", "list", "--json"), ("schedules", "next", "--json")),
    *(("dead", "list", "--json"), ("dead", "show", "--json"), ("dead", "purge", "--yes", "--task")),
    *(
        ("dead", "list", "--limit"),
        ("dead", "list", "--reason"),
        ("dead", "list", "--task"),
        ("dead", "retry", "--yes", "--all"),
    ),
    *(
        ("dead", "purge", "--all", "--yes", "--older-than"),
        ("check", "--role"),
        ("ping", "--timeout", "0.1", "--queue"),
    ),
    *(
        ("schedules", "run", "bad", "--timeout", "0.1", "--wait"),
        ("schedules", "next", "bad", "--count"),
        ("migrate", "--to"),
    ),
    *(
        ("--app",),
        ("worker", "nobody.knows:broker"),
        ("retention", "--dry-run", "--sample"),
        ("dead", "retry", "--yes", "--all", "--reason"),
        (),
    ),
)
_ARGUMENTS: Final = TEXTS.map(lambda text: text.replace("\0", "")) | st.sampled_from(
    ["bad", "1-1", "0-0", "--all", "-h"]
)
_FOREIGN: Final = (
    *("name", "dead", "dropped", "workers", "queues", "untaken", "delayed", "delayed_messages", "schedules", "layout"),
    *("runs", "failed_runs", "run_counts"),
    *("uniques", "cancelled", "worker_info", "janitor", "epoch", "misfit_index", "acts", "paused"),
)


@dataclass(frozen=True)
class Odd:
    """What lies in Redis, and which commands look at it."""

    plant: Plant
    letters: list[dict[str, bytes]]
    blocks: list[bytes]
    foreign: dict[str, tuple[str, bytes]]
    commands: list[tuple[tuple[str, ...], list[str]]]


_INPUTS: Final = st.builds(
    Odd,
    PLANTS,
    st.lists(LETTERS, max_size=3),
    st.lists(BLOCKS, max_size=3),
    seldom(
        st.dictionaries(
            st.sampled_from(_FOREIGN),
            st.tuples(st.sampled_from(["text", "list", "hash", "set", "sorted set"]), BYTES),
            max_size=2,
        )
    ),
    st.lists(st.tuples(st.sampled_from(_COMMANDS), st.lists(_ARGUMENTS, max_size=2)), min_size=1, max_size=6),
)


async def _put(url: str, keys: QueueKeys, odd: Odd) -> None:
    await put(url, keys, odd.plant, odd.letters, odd.blocks, set())
    async with Redis.from_url(url) as redis:
        for name, (kind, value) in odd.foreign.items():
            await put_foreign(redis, cast("str", getattr(keys, name)), kind, value)


def _try_out(ground: Ground, odd: Odd) -> None:
    prefix = ground.new_prefix()
    asyncio.run(_put(ground.redis_url, TasksSettings(key_prefix=prefix).keys, odd))
    environment = {"REDIS_URL": ground.redis_url, "DATABASE_URL": ground.database_url, "TASKS_KEY_PREFIX": prefix}
    environment |= {"TASKS_SEND_DEADLINE": "0.5"}
    for command, arguments in odd.commands:
        ended = run_command_line([*command, *arguments], environment=environment, folder=ground.folder)
        check_ended(ended)
        if ended.code == 0 and "--json" in command and "--help" not in arguments:
            json.loads(ended.out)
    asyncio.run(delete_keys_of(ground.redis_url, prefix))


SURFACE: Final = Surface(name="cli", inputs=_INPUTS, try_out=_try_out, size=lambda odd: len(odd.commands), examples=5)
