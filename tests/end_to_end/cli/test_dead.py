import dataclasses
import json
import re
from asyncio import to_thread
from pathlib import Path
from typing import cast

import pytest
from redis.asyncio import Redis
from redis.typing import EncodableT, FieldT
from tests.deadlines import HANG
from tests.end_to_end.apps.breakable import MENDED_VARIABLE, register
from tests.end_to_end.cli.command_line import CommandLine
from tests.end_to_end.cli.in_process import Kiqstart

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.results import StreamResultBackend
from kiqstart.testing import ProcessFactory, eventually
from kiqstart.testing.processes import kiqstart_command
from todo_service.delivery.tasks.registry import TasksRegistry

UNHEARD_OF = b'{"task_id": "an-id", "task_name": "unheard\\u001b[2J.of", "labels": {}, "args": [], "kwargs": {}}'
INVALID_CALL = b"""{
    "task_id": "a-call", "task_name": "session.cleanup", "labels": {}, "args": [], "kwargs": {"days_old": "soon"}
}"""


@pytest.fixture
def mended(tmp_path: Path) -> Path:
    return tmp_path / "mended"


@pytest.fixture
def breakable_worker(worker: ProcessFactory, mended: Path) -> ProcessFactory:
    return dataclasses.replace(
        worker,
        command=kiqstart_command("worker", "tests.end_to_end.apps.breaking:broker"),
        environment={**worker.environment, MENDED_VARIABLE: str(mended)},
    )


async def bury_some(broker: StreamBroker, count: int = 1) -> list[str]:
    """Put dead letters of ping where Redis has them, and give their ids, oldest first."""
    redis = cast("Redis", broker.connection.redis)
    data = '{"task_id": "an-id", "task_name": "ping", "labels": {}, "args": [], "kwargs": {}}'
    fields: dict[FieldT, EncodableT] = {
        "data": data,
        "queue": broker.keys.name,
        "reason": "worker-lost",
        "detail": "",
        "deliveries": "3",
    }
    return [cast("bytes", await redis.xadd(broker.keys.dead, fields)).decode() for _ in range(count)]


async def test_what_cannot_be_run_is_listed_shown_mended_sent_again_and_purged(
    kiqstart_here: Kiqstart, registry: TasksRegistry, breakable_worker: ProcessFactory, mended: Path
) -> None:
    broker = cast("StreamBroker", registry.broker)
    redis = cast("Redis", broker.connection.redis)
    for data in ("no JSON", UNHEARD_OF, INVALID_CALL):
        await redis.xadd(broker.keys.name, {"data": data})
    await redis.xadd(broker.keys.name, {"odd": "fields", b"\xff\x00": b"\x80"})
    broken = await register(broker).kiq(21)
    neighbour = await registry.ping.kiq()
    with breakable_worker(environment={"TASKS_MISFIT_GRACE": "0.2"}):
        assert (await neighbour.wait_result(timeout=HANG)).return_value == {"result": "pong"}
        assert (await broken.wait_result(timeout=HANG)).is_err

        async def all_are_dead() -> bool:
            return await broker.dead_letters.count() == 5

        await eventually(all_are_dead)
        listed = await to_thread(kiqstart_here, "dead", "list")
        assert listed.code == 0, listed.err
        assert "5 of 5 dead letters\n" in listed.out
        for text in (
            "malformed",
            "(no task)",
            "invalid-arguments",
            "session.cleanup",
            "breakable",
            "ValueError: broken",
        ):
            assert text in listed.out
        assert r"unheard\x1b[2J.of" in listed.out
        assert "\x1b" not in listed.out

        chosen = ("--task", "breakable", "--reason", "retries-exhausted", "--limit", "3")
        only = (await to_thread(kiqstart_here, "dead", "list", *chosen)).out
        assert "1 of 5 dead letters" in only
        [letter] = [one for one in await broker.dead_letters.list() if one.task_name == "breakable"]
        assert only.count("\n") == 9
        assert "      1  retries-exhausted  breakable\n" in only
        assert letter.id in only

        shown = (await to_thread(kiqstart_here, "dead", "show", letter.id)).out
        assert (await to_thread(kiqstart_here, "dead", "show", broken.task_id)).out == shown
        for text in (f"task id     {broken.task_id}", "    21\n", "Traceback", r"ValueError: broken\x1b[31m"):
            assert text in shown
        assert "\x1b" not in shown

        mended.touch()  # noqa: ASYNC240  # one file, and nobody else in this loop
        sent = await to_thread(kiqstart_here, "dead", "retry", letter.id)
        assert (sent.code, sent.out) == (0, f"{letter.id}  breakable with id {broken.task_id}\n1 sent again\n")
        assert (await broken.wait_result(timeout=HANG)).return_value == 42
    done = await to_thread(kiqstart_here, "dead", "retry", "--all", "--yes")
    assert done.code == 1
    assert done.out.endswith("2 sent again, 2 not\n")
    *again, _ = done.out.splitlines()
    assert again == sorted(again), "the oldest goes first"
    assert "unheard" in done.out
    assert "session.cleanup with id a-call" in done.out
    assert [line.endswith("no readable message: purge it") for line in done.err.splitlines()] == [True, True]
    assert (await to_thread(kiqstart_here, "dead", "purge", "--all", "--yes")).out == "2 dropped\n"
    assert await broker.dead_letters.count() == 0


async def test_letters_beyond_the_limit_are_dropped_and_told(
    kiqstart_here: Kiqstart, registry: TasksRegistry, worker: ProcessFactory
) -> None:
    broker = cast("StreamBroker", registry.broker)
    redis = cast("Redis", broker.connection.redis)
    for number in range(5):
        await redis.xadd(broker.keys.name, {"data": f"message {number}"})
    with worker(environment={"TASKS_DEAD_LETTER_LIMIT": "2", "TASKS_LEASE": "1"}) as process:
        process.wait_for_log("dead letters were dropped: too old, too many or too large")

        async def all_are_dropped() -> bool:
            return await broker.dead_letters.dropped() == 3

        await eventually(all_are_dropped)
    listed = await to_thread(kiqstart_here, "dead", "list")
    assert "2 of 2 dead letters; 3 were dropped: too old, too many or too large\n" in listed.out


async def test_unknown_letters_are_a_line_each_and_the_others_are_done(
    kiqstart_here: Kiqstart, registry: TasksRegistry
) -> None:
    dead = cast("StreamBroker", registry.broker).dead_letters
    one, other = await bury_some(cast("StreamBroker", registry.broker), 2)
    sent = await to_thread(kiqstart_here, "dead", "retry", "1-1", one, "\x1b[2J")
    assert (sent.code, sent.out) == (1, f"{one}  ping with id an-id\n1 sent again, 2 not\n")
    assert [line[:38] for line in sent.err.splitlines()] == [
        "kiqstart: there is no dead letter '1-1"[:38],
        r"kiqstart: there is no dead letter '\x1b[2J"[:38],
    ]
    dropped = await to_thread(kiqstart_here, "dead", "purge", other, one)
    assert (dropped.code, dropped.out) == (1, f"{other}\n1 dropped, 1 not\n")
    for command, done in (("retry", "sent again"), ("purge", "dropped")):
        [letter] = await bury_some(cast("StreamBroker", registry.broker), 1)
        ended = await to_thread(kiqstart_here, "dead", command, "an-id")
        of_letter, total = ended.out.splitlines()
        assert (ended.code, of_letter.split()[0], total) == (0, letter, f"1 {done}")
    shown = await to_thread(kiqstart_here, "dead", "show", one)
    assert (shown.code, shown.out) == (1, "")
    assert shown.err.startswith(f"kiqstart: there is no dead letter '{one}'")
    assert await dead.count() == 0


async def bury(broker: StreamBroker, task: str, reason: str, *, id: str = "*") -> None:  # noqa: A002  # Redis'
    redis = cast("Redis", broker.connection.redis)
    data: dict[str, object] = {
        "task_id": f"id-{id}",
        "task_name": task,
        "labels": {},
        "args": [],
        "kwargs": {"password": "hunter2"},
    }
    fields = {"data": json.dumps(data), "queue": broker.keys.name, "reason": reason, "detail": "E: password=hunter2"}
    await redis.xadd(broker.keys.dead, cast("dict[FieldT, EncodableT]", fields), id=id)


@pytest.fixture
async def several(registry: TasksRegistry) -> StreamBroker:
    """Three old letters and two new ones."""
    broker = cast("StreamBroker", registry.broker)
    for number in (1, 2):
        await bury(broker, "ping", "worker-lost", id=f"{number}-0")
    await bury(broker, "ping", "malformed", id="3-0")
    await bury(broker, "ping", "worker-lost")
    await bury(broker, "todo.cleanup", "worker-lost")
    return broker


@pytest.mark.parametrize(
    ("options", "described", "count"),
    [
        (["--all"], "all dead letters", 5),
        (["--task", "ping"], "all dead letters of 'ping'", 4),
        (["--reason", "malformed"], "all dead letters with the reason malformed", 1),
        (["--older-than", "7d"], "all dead letters, older than 7d", 3),
        (
            ["--task", "ping", "--reason", "worker-lost", "--older-than", "7d"],
            "all dead letters of 'ping' with the reason worker-lost, older than 7d",
            2,
        ),
    ],
)
@pytest.mark.parametrize(
    ("command", "question", "done"), [("purge", "Drop", "dropped"), ("retry", "Send", "sent again")]
)
async def test_many_letters_are_ended_only_after_a_question_that_says_how_many(
    kiqstart_here: Kiqstart,
    several: StreamBroker,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    described: str,
    count: int,
    command: str,
    question: str,
    done: str,
) -> None:
    call = ("dead", command, *options)
    letters = "dead letter" if count == 1 else "dead letters"
    asked = f"{question} {count} {letters} ({described})" + (" again?" if command == "retry" else "?")
    refused = await to_thread(kiqstart_here, *call, stdin="y\n")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == f"kiqstart: {asked} There is no terminal to ask at: say --yes\n"
    monkeypatch.setattr("kiqstart.cli.confirmation.is_interactive", lambda: True)
    assert (await to_thread(kiqstart_here, *call, stdin="n\n")).code == 1
    assert await several.dead_letters.count() == 5
    said = await to_thread(kiqstart_here, *call, stdin="y\n")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"{asked} [y/N]: ")
    assert said.out.endswith(f"{count} {done}\n")
    assert await several.dead_letters.count() == 5 - count
    assert (await to_thread(kiqstart_here, *call, "--yes", "--because", "mended")).out == f"0 {done}\n"
    [act] = json.loads((await to_thread(kiqstart_here, "acts", "--json")).out)
    assert (act["act"], act["target"], act["detail"]) == (
        f"{command}-dead",
        described,
        "1 letter" if count == 1 else f"{count} letters",
    )


async def test_letters_are_counted_by_task_and_reason(kiqstart_here: Kiqstart, several: StreamBroker) -> None:
    listed = (await to_thread(kiqstart_here, "dead", "list", "--limit", "1")).out.splitlines()
    assert listed[-5:] == [
        "      3  worker-lost        ping",
        "      1  worker-lost        todo.cleanup",
        "      1  malformed          ping",
        "",
        "1 of 5 dead letters",
    ]
    found = json.loads((await to_thread(kiqstart_here, "dead", "list", "--json", "--task", "ping")).out)
    assert found["totals"] == [
        {"task": "ping", "reason": "worker-lost", "count": 3},
        {"task": "ping", "reason": "malformed", "count": 1},
    ]
    assert (found["count"], found["dropped"], len(found["letters"])) == (5, 0, 4)
    assert found["letters"][-1] == {
        "id": "1-0",
        "task": "ping",
        "task_id": "id-1-0",
        "queue": several.keys.name,
        "reason": "worker-lost",
        "deliveries": 0,
        "first": "1970-01-01T00:00:00.001000+00:00",
        "last": "1970-01-01T00:00:00.001000+00:00",
        "problem": "E: password=***",
    }
    shown = json.loads((await to_thread(kiqstart_here, "dead", "show", "--json", "id-1-0")).out)
    assert shown["message"]["kwargs"] == {"password": "***"}
    assert shown["detail"] == "E: password=***"


def test_a_call_that_makes_no_sense_is_one_line(kiqstart_here: Kiqstart) -> None:
    done = kiqstart_here("dead", "purge", "1-1", "--all")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "kiqstart: name dead letters by their ids, or choose them with --task, --reason and --older-than, "
        "or take --all\n"
    )


@pytest.mark.parametrize(
    ("url", "arguments", "line"),
    [
        ("redis://:hunter2@127.0.0.1:1", ["dead", "list"], "cannot use Redis at 127.0.0.1:1 (REDIS_URL): "),
        (
            "memory://",
            ["cancel", "an-id"],
            "a DelayingInMemoryBroker (as REDIS_URL=memory:// gives one) keeps no tasks, schedules or dead letters",
        ),
    ],
)
def test_without_a_redis_there_is_one_line(kiqstart_here: Kiqstart, url: str, arguments: list[str], line: str) -> None:
    done = kiqstart_here(*arguments, environment={"REDIS_URL": url})
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"kiqstart: {line}")
    assert done.err.count("\n") == 1
    assert "hunter2" not in done.err


async def test_tasks_are_cancelled_unless_they_have_ended(
    kiqstart: CommandLine, registry: TasksRegistry, worker: ProcessFactory
) -> None:
    with worker():
        ended = await registry.ping.kiq()
        await ended.wait_result(timeout=HANG)
        forgotten = await registry.ping.kiq()
        await forgotten.wait_result(timeout=HANG)
    await cast("StreamResultBackend[object]", registry.broker.result_backend).forget(forgotten.task_id)
    delayed = await registry.ping.kicker().after(600).kiq()
    waiting = await registry.ping.kiq()
    ids = [one.task_id for one in (delayed, ended, forgotten, waiting)]
    done = kiqstart.run("cancel", *ids, environment={"DATABASE_URL": ""})
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"'{delayed.task_id}' was delayed, and is cancelled",
        f"'{waiting.task_id}' was waiting, and is cancelled",
    ]
    for line, one in zip(done.stderr.splitlines(), (ended, forgotten), strict=True):
        assert re.fullmatch(rf"kiqstart: task '{one.task_id}' has ended: succeeded [0-9.]+ m?s ago", line)
    assert "was cancelled" in str((await delayed.wait_result(timeout=HANG)).error)
    with worker():
        assert "was cancelled" in str((await waiting.wait_result(timeout=HANG)).error)
