import asyncio
import json
import re

import pytest
from redis import Redis
from tests.end_to_end.cli.in_process import Kiqstart

from kiqstart.broker.keys import QueueKeys


@pytest.fixture(autouse=True)
def ada(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    monkeypatch.setattr("socket.gethostname", lambda: "here")


def test_what_is_paused_is_told_everywhere_with_who_and_why(kiqstart_here: Kiqstart) -> None:
    assert "ok      paused      no queue and no task\n" in kiqstart_here("check").out
    paused = kiqstart_here("pause", "queue", "default", "--reason", "the mail server is down")
    assert (paused.code, paused.out, paused.err) == (0, "default\n1 paused\n", "")
    assert kiqstart_here("pause", "task", "ping").code == 0
    why = "by ada@here: the mail server is down"
    listed = kiqstart_here("queues").out
    [row] = [line for line in listed.splitlines() if line.startswith("default")]
    assert row.split()[-1] == "paused"
    assert "the queue 'default' is paused for" in listed
    assert why in listed
    [queue] = [one for one in json.loads(kiqstart_here("queues", "--json").out) if one["name"] == "default"]
    assert (queue["paused"]["user"], queue["paused"]["reason"]) == ("ada", "the mail server is down")
    [note] = [line for line in kiqstart_here("check").out.splitlines() if line.startswith("note    paused")]
    assert why in note
    assert "; the task 'ping' is paused for" in note
    metrics = kiqstart_here("metrics").out
    assert re.search(
        r'^kiqstart_paused{kind="queue",name="default",service="[^"]*",where=""} 1.0$', metrics, re.MULTILINE
    )
    again = kiqstart_here("pause", "queue", "default").out
    assert again.startswith("default  already: the queue 'default' is paused for")
    resumed = kiqstart_here("resume", "queue", "default", "--reason", "it is up")
    assert (resumed.code, resumed.out) == (0, "default\n1 resumed\n")
    assert kiqstart_here("resume", "queue", "default").err == "kiqstart: the queue 'default' is not paused\n"
    acts = json.loads(kiqstart_here("acts", "--json").out)
    assert [(one["act"], one["target"], one["reason"]) for one in acts] == [
        ("resume-queue", "default", "it is up"),
        ("pause-task", "ping", ""),
        ("pause-queue", "default", "the mail server is down"),
    ]


def test_a_ping_that_a_pause_keeps_from_an_answer_says_so(kiqstart_here: Kiqstart) -> None:
    kiqstart_here("pause", "queue", "default")
    done = kiqstart_here("ping", "--timeout", "0.2")
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("; the queue 'default' is paused: `kiqstart resume queue default`\n")


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["queue", "nobody"], 0, "no queue 'nobody' is known; should there be one, it is paused"),
        (["task", "no.task"], 0, "no task 'no.task' is known; should there be one, it is paused"),
        (["task", ""], 1, "'': a task's name is not empty"),
        (["queue", "two words"], 1, "'two words': a queue's name has no space and no control character"),
    ],
)
def test_names_that_nobody_knows_are_told(kiqstart_here: Kiqstart, arguments: list[str], code: int, line: str) -> None:
    done = kiqstart_here("pause", *arguments)
    assert (done.code, done.err) == (code, f"kiqstart: {line}\n")


def test_what_strangers_put_there_is_shown_harmless(kiqstart_here: Kiqstart, redis_url: str, key_prefix: str) -> None:
    key = QueueKeys(f"{{{key_prefix}}}:tasks").paused
    with Redis.from_url(redis_url) as redis:
        redis.hset(key, mapping={"task:\x1b[2J": '{"since": 1e400}', "odd": "x", b"queue:\xff": b"\xff"})
    for command in ("check", "queues", "resume task \x1b[2J"):
        done = kiqstart_here(*command.split(" "))
        assert "\x1b" not in done.out + done.err
        assert "Traceback" not in done.err


def test_a_paused_queue_still_counts_what_waits(kiqstart_here: Kiqstart) -> None:
    kiqstart_here("pause", "queue", "default")

    async def send() -> None:
        from kiqstart.cli.application import stream_broker

        async with stream_broker() as broker:
            await broker.ping.kiq()

    asyncio.run(send())
    [row] = [line for line in kiqstart_here("queues").out.splitlines() if line.startswith("default")]
    assert row.split()[1] == "1"


def test_calls_of_a_task_are_paused_by_an_argument_and_told_everywhere(kiqstart_here: Kiqstart) -> None:
    words = ("task", "session.cleanup", "--where", "days-old=7")
    assert kiqstart_here("pause", *words, "--reason", "why").out == "session.cleanup days-old=7\n1 paused\n"
    said = "the task 'session.cleanup' where days_old=7 is paused for"
    assert said in kiqstart_here("pause", "task", "session.cleanup", "--where", "days_old=7.0").out
    assert said in kiqstart_here("check").out
    [task] = [one for one in json.loads(kiqstart_here("tasks", "list", "--json").out) if one["paused_calls"]]
    [calls] = task["paused_calls"]
    assert (task["name"], task["paused"], calls["where"], calls["user"]) == (
        "session.cleanup", None, {"days_old": "7"}, "ada"
    )  # fmt: skip
    metric = r'^kiqstart_paused{kind="task",name="session.cleanup",service="[^"]*",where="days_old=7"} 1.0$'
    assert re.search(metric, kiqstart_here("metrics").out, re.MULTILINE)
    assert kiqstart_here("resume", "task", "session.cleanup").err == (
        "kiqstart: the task 'session.cleanup' is not paused\n"
    )
    assert kiqstart_here("resume", *words).code == 0
    assert kiqstart_here("acts", "--json").out.count('"detail": "days-old=7"') == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["task", "session.cleanup", "--where", "days_old"], "--where 'days_old': write an argument and its value"),
        (
            ["task", "session.cleanup", "--where", "day=7"],
            "session.cleanup: --where day: the task takes no argument 'day'",
        ),
        (["task", "session.cleanup", "--where", "days_old=x"], "--days-old 'x': Input should be a valid integer"),
        (["queue", "default", "--where", "a=1"], "--where is for tasks: a queue is paused as a whole"),
    ],
)
def test_conditions_that_no_call_can_meet_are_one_line(kiqstart_here: Kiqstart, words: list[str], line: str) -> None:
    done = kiqstart_here("pause", *words)
    assert done.code == 1
    assert done.err.startswith(f"kiqstart: {line}"), done.err
    assert done.err.count("\n") == 1
