"""What became of tasks, from the command line alone."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis
from tests.deadlines import HANG
from tests.end_to_end.cli.in_process import Kiqstart

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.settings import TasksSettings
from kiqstart.cli.application import stream_broker
from kiqstart.testing import ProcessFactory, eventually
from todo_service.delivery.tasks.registry import TasksRegistry

NOW = 1_790_000_000_000
WORKER = "kiq-0123456789abcdef0123456789abcdef-5000"
ID = "0123456789abcdef0123456789abcdef"
TRACEBACK = 'Traceback (most recent call last):\n  File "mail.py", line 7, in send\nMailError: \x1b[31mno route'
LOG = "14:13:25.500Z INFO mail: Sending\x1b[2J to=ada password=hidden-1\n14:13:25.900Z WARNING mail: Slow"


def plant(
    keys: QueueKeys,
    url: str,
    *,
    outcome: str = "s",
    number: int = 1,
    result: str = "",
    problem: str = "",
    log: str = "",
    task: str = "newsletter.send",
    task_id: str = ID,
) -> None:
    """Put a run where a worker leaves it."""
    message = {
        "task_id": task_id,
        "task_name": task,
        "labels": {"schedule_id": "nightly", "retries": "1"},
        "args": [7, "x\x1b[2J"],
        "kwargs": {"password": "hidden-1", "day": 7, "to": ["ada"]},
    }
    data = json.dumps(message)
    facts = f"{NOW}-0 {NOW + 1000} 2500000 2 0 {len(data)} {len(result)} {len(problem)}{f' {len(log)}' if log else ''}"
    block = f"1{outcome} mail {WORKER} host-7:4711\n{facts}\n{data}{result}{problem}{log}"
    with Redis.from_url(url) as redis:
        stream = keys.failed_runs if outcome in "fd" else keys.runs
        redis.xadd(stream, {"runs": block}, id=f"{number}-{NOW + 4000 + number * 1000}")


@pytest.fixture
def keys(key_prefix: str) -> QueueKeys:
    return TasksSettings(key_prefix=key_prefix).keys


@pytest.fixture
def failed(kiqstart_here: Kiqstart, redis_url: str, keys: QueueKeys, monkeypatch: pytest.MonkeyPatch) -> Kiqstart:
    """With a task that was tried again, and is a dead letter."""
    monkeypatch.setenv("TZ", "UTC")
    plant(keys, redis_url, outcome="r", problem=TRACEBACK)
    plant(keys, redis_url, outcome="d", number=2, problem=TRACEBACK, log=LOG)
    return kiqstart_here


def test_nothing_is_kept(kiqstart_here: Kiqstart) -> None:
    for arguments in (("runs",), ("runs", "list")):
        done = kiqstart_here(*arguments)
        assert (done.code, done.out, done.err) == (0, "no such run is kept\n", "")
    assert json.loads(kiqstart_here("runs", "list", "--json").out) == []
    assert kiqstart_here("runs", environment={"TASKS_RUNS_KEPT": "0"}).out == "none are kept: TASKS_RUNS_KEPT is 0\n"


def test_runs_are_listed_newest_first_with_what_they_have_raised(failed: Kiqstart) -> None:
    done = failed("runs", environment={"COLUMNS": "80"})
    assert done.code == 0, done.err
    assert done.out == (
        "ended (UTC)     outcome       took  task\n"
        f"09-21 14:13:26  dead         2.5 s  {ID}  newsletter.send\n    MailError: \\x1b[31mno route\n"
        f"09-21 14:13:25  retried      2.5 s  {ID}  newsletter.send\n    MailError: \\x1b[31mno route\n"
    )


def test_a_list_says_that_there_are_more_runs_than_it_has(failed: Kiqstart) -> None:
    said = "the newest 1, and there are more: --limit says how many\n"
    assert failed("runs", "list", "--limit", "1").out.endswith(said)
    assert "there are more" not in failed("runs", "list", "--limit", "2").out


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--task", "newsletter.send"), 2),
        (("--task", "newsletter"), 0),
        (("--outcome", "dead"), 1),
        (("--queue", "mail"), 2),
        (("--queue", "default"), 0),
        (("--text", "NO ROUTE"), 2),
        (("--text", "host-7"), 2),
        (("--text", "sending"), 1),
        (("--text", "nowhere"), 0),
        (("--since", "1s"), 0),
        (("--since", "9999d"), 2),
        (("--limit", "1"), 1),
        (("--argument", "day=7"), 2),
        (("--argument", "day=7.0", "--argument", 'to=["ada"]'), 2),
        (("--argument", 'day="7"'), 0),
        (("--argument", "day=7", "--argument", "to=ada"), 0),
    ],
)
def test_runs_are_found_by_what_one_knows_of_them(failed: Kiqstart, options: tuple[str, ...], count: int) -> None:
    assert len(json.loads(failed("runs", "list", "--json", *options).out)) == count


def test_json_has_one_documented_shape(failed: Kiqstart) -> None:
    [dead, retried] = json.loads(failed("runs", "list", "--json").out)
    assert {**dead, "traceback": ""} == {
        "id": f"2-{NOW + 6000}.0",
        "task_id": ID,
        "task": "newsletter.send",
        "arguments": '7, "x\\u001b[2J", password="***", day=7, to=["ada"]',
        "queue": "mail",
        "outcome": "dead",
        "sent": "2026-09-21T14:13:20+00:00",
        "began": "2026-09-21T14:13:21+00:00",
        "ended": "2026-09-21T14:13:26+00:00",
        "seconds": 2.5,
        "attempt": 2,
        "crashes": 0,
        "worker": WORKER,
        "host": "host-7",
        "pid": 4711,
        "schedule": "nightly",
        "sent_by": None,
        "result": None,
        "error": "MailError: \x1b[31mno route",
        "traceback": "",
        "log": LOG.replace("hidden-1", "***"),
    }
    assert (retried["outcome"], retried["log"]) == ("retried", "")


def test_all_that_is_kept_of_a_task_is_shown(failed: Kiqstart) -> None:
    done = failed("runs", "show", ID)
    assert done.code == 0
    assert done.out.startswith(f"task {ID}\n\noutcome     dead\n")
    assert done.out.index("outcome     dead") < done.out.index("outcome     retried")
    for line in (
        "task        newsletter.send",
        "schedule    nightly",
        "sent        2026-09-21 14:13:20.000 UTC",
        "began       2026-09-21 14:13:21.000 UTC",
        "ended       2026-09-21 14:13:26.000 UTC",
        "took        2.5 s",
        "try         2",
        f"worker      {WORKER}",
        "host        host-7, process 4711",
        r"log         14:13:25.500Z INFO mail: Sending\x1b[2J to=ada password=***",
        "            14:13:25.900Z WARNING mail: Slow",
        '  File "mail.py", line 7, in send',
        r"MailError: \x1b[31mno route",
    ):
        assert f"\n{line}\n" in done.out, line
    assert "hidden-1" not in done.out
    page = json.loads(failed("runs", "show", ID, "--json").out)
    assert (page["task_id"], page["now"], len(page["runs"])) == (ID, None, 2)


def test_an_unknown_task_is_one_line(kiqstart_here: Kiqstart) -> None:
    done = kiqstart_here("runs", "show", "nobody's\x1b[2J")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        'kiqstart: nothing is known of a task "nobody\'s\\x1b[2J": it waits nowhere, and no run of it is kept\n'
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--outcome", "odd"), "--outcome 'odd' is none of succeeded, failed, retried, dead, cancelled"),
        (("--since", "soon"), "--since 'soon' is no age: write 90s, 30m, 12h or 7d"),
        (("--state", "odd"), "--state 'odd' is none of delayed, waiting, running"),
        (
            ("--state", "waiting", "--since", "1h"),
            "--outcome and --since are for runs that have ended: take them without --state",
        ),
        (("--look-at", "7"), "--look-at is for --state: of runs that have ended, all are looked at"),
        (("--argument", "day"), "--argument 'day': write an argument and its value, such as customer=7"),
        (("--argument", "=7"), "--argument '=7': write an argument and its value, such as customer=7"),
        (("--argument", "day=7", "--argument", "day=8"), "--argument names 'day' twice"),
        (("--argument", "password=hidden-1"), "--argument 'password': secrets are not shown, and not looked for"),
        (("--argument", "to=redis://me:guess@host"), "--argument 'to': secrets are not shown, and not looked for"),
    ],
)
def test_an_option_that_makes_no_sense_is_one_line(
    kiqstart_here: Kiqstart, arguments: tuple[str, ...], line: str
) -> None:
    done = kiqstart_here("runs", "list", *arguments)
    assert (done.code, done.out, done.err) == (1, "", f"kiqstart: {line}\n")


def waiting(keys: QueueKeys, url: str, queue: str = "mail") -> list[dict[str, Any]]:
    """The messages that wait in a queue."""
    with Redis.from_url(url) as redis:
        entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", redis.xrange(keys.stream(queue)))
    return [json.loads(fields[b"data"]) for _, fields in entries]


def test_what_failed_is_sent_again_whole_and_once(kiqstart_here: Kiqstart, redis_url: str, keys: QueueKeys) -> None:
    plant(keys, redis_url, outcome="f", problem=TRACEBACK, task="ping")
    done = kiqstart_here("runs", "retry", ID, "--reason", "the mail server is back")
    assert (done.code, done.out, done.err) == (0, f"{ID}  ping\n1 sent again\n", "")
    [message] = waiting(keys, redis_url)
    assert (message["task_id"], message["args"]) == (ID, [7, "x\x1b[2J"])
    assert message["kwargs"]["password"] == "hidden-1", "no asterisks in the place of a secret"
    assert message["labels"] == {"schedule_id": "nightly", "retries": "0"}
    [act] = json.loads(kiqstart_here("acts", "--json").out)
    assert (act["act"], act["target"], act["detail"], act["reason"]) == (
        "retry-run", ID, "1 task", "the mail server is back"
    )  # fmt: skip
    assert kiqstart_here("runs", "retry", "--all", "--yes").out == "0 sent again\n"
    again = kiqstart_here("runs", "retry", ID)
    assert (again.code, again.out) == (1, "0 sent again, 1 not\n")
    assert again.err == (f"kiqstart: task '{ID}' is not sent again: it has not ended: it waits in the queue 'mail'\n")
    with Redis.from_url(redis_url) as redis:
        redis.delete(keys.stream("mail"))
    # Lost with the queue, and not to be known from one that ran and whose run was dropped.
    assert "this run of it was sent again before" in kiqstart_here("runs", "retry", ID).err
    assert waiting(keys, redis_url) == []


def test_what_options_choose_is_counted_and_asked_about(
    kiqstart_here: Kiqstart, redis_url: str, keys: QueueKeys
) -> None:
    for number in range(1, 4):
        plant(keys, redis_url, outcome="f", number=number, problem=TRACEBACK, task="ping", task_id=f"id-{number}")
    plant(keys, redis_url, outcome="d", number=4, problem=TRACEBACK, task="ping", task_id="id-4")
    plant(keys, redis_url, outcome="s", number=5, task="ping", task_id="id-3")
    assert kiqstart_here("runs", "retry", "--argument", "day=8", "--yes").out == "0 sent again\n"
    asked = kiqstart_here("runs", "retry", "--task", "ping", "--text", "no route", "--argument", "day=7")
    assert (asked.code, asked.out) == (1, "")
    assert asked.err == (
        "kiqstart: Send 2 tasks again (all whose last run failed, of 'ping', with the text 'no route', with day=7)? "
        "There is no terminal to ask at: say --yes\n"
    )
    assert waiting(keys, redis_url) == []
    done = kiqstart_here("runs", "retry", "--task", "ping", "--text", "no route", "--yes")
    assert (done.code, done.out) == (0, "id-1  ping\nid-2  ping\n2 sent again\n")
    assert [one["task_id"] for one in waiting(keys, redis_url)] == ["id-1", "id-2"]


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("f", "this application has no task 'newsletter.send' any more"),
        ("d", "it is a dead letter: `kiqstart dead show` with this id says which, `kiqstart dead retry` sends it"),
        ("s", "its last run has not failed, but succeeded"),
        ("c", "its last run has not failed, but was cancelled"),
        ("r", "its last run has not failed, but is to be tried again"),
    ],
)
def test_why_a_task_is_not_sent_again_is_one_line(
    kiqstart_here: Kiqstart, redis_url: str, keys: QueueKeys, outcome: str, words: str
) -> None:
    plant(keys, redis_url, outcome=outcome)
    done = kiqstart_here("runs", "retry", ID)
    assert (done.code, done.out) == (1, "0 sent again, 1 not\n")
    assert done.err == f"kiqstart: task '{ID}' is not sent again: {words}\n"
    assert json.loads(kiqstart_here("acts", "--json").out) == []


@pytest.mark.parametrize("arguments", [(), (ID, "--all"), (ID, "--task", "ping")])
def test_what_is_to_be_sent_again_is_named_or_chosen(kiqstart_here: Kiqstart, arguments: tuple[str, ...]) -> None:
    done = kiqstart_here("runs", "retry", *arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "kiqstart: name tasks by their ids, or choose them with --task, --queue, --since, --text or --argument, "
        "or take --all\n"
    )


def test_an_unknown_task_is_not_sent_again(kiqstart_here: Kiqstart) -> None:
    done = kiqstart_here("runs", "retry", "nobody's", "--yes")
    assert (done.code, done.out) == (1, "0 sent again, 1 not\n")
    assert 'nothing is known of a task "nobody\'s"' in done.err


async def send(task_name: str, delay: float = 0.0, **named: object) -> str:
    async with stream_broker() as broker:
        task = broker.find_task(task_name)
        assert task is not None
        kicker = task.kicker().with_labels(delay=delay) if delay else task.kicker()
        return (await kicker.kiq(**named)).task_id


def take(keys: QueueKeys, url: str, task_id: str) -> None:
    """Let a worker have the next one, and say how far it is."""
    with Redis.from_url(url) as redis:
        redis.xgroup_create(keys.name, "kiqstart", id="0")
        redis.set(keys.group, "kiqstart")
        redis.hset(keys.worker_info, WORKER, json.dumps({"host": "host-7", "pid": 4711}))
        read = cast("list[Any]", redis.xreadgroup("kiqstart", WORKER, {keys.name: ">"}, count=1))
        entry = cast("bytes", read[0][1][0][0])
        run = {"entry": f"{entry.decode()}@{keys.name}", "task": "ping", "id": task_id, "began": NOW, "done": 400}
        redis.hset(keys.running, WORKER, json.dumps([run | {"total": 1000, "text": "rows\x1b[2J"}]))


def test_a_task_that_has_not_ended_is_shown_with_what_it_was_given(
    kiqstart_here: Kiqstart, redis_url: str, keys: QueueKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    running = asyncio.run(send("ping"))
    waiting_id = asyncio.run(send("session.cleanup", days_old=30))
    delayed = asyncio.run(send("session.cleanup", delay=3600, days_old=40))
    take(keys, redis_url, running)
    done = kiqstart_here("runs", "show", waiting_id)
    assert done.code == 0
    assert "\nnow         waiting in the queue default since 20" in done.out
    for line in (
        "task        session.cleanup",
        "arguments   days_old=30",
        "queue       default",
        "schedule    -",
        "try         1",
    ):
        assert f"\n{line}\n" in done.out, line
    now = json.loads(kiqstart_here("runs", "show", waiting_id, "--json").out)["now"]
    assert {**now, "since": "", "sent": ""} == {
        "place": "waiting", "since": "", "task_id": waiting_id, "task": "session.cleanup", "arguments": "days_old=30",
        "queue": "default", "sent": "", "attempt": 1, "crashes": 0, "schedule": None, "sent_by": None, "worker": "",
        "host": "", "pid": 0, "progress": None,
    }  # fmt: skip
    assert now["sent"] == now["since"]
    done = kiqstart_here("runs", "show", delayed)
    assert "\nnow         delayed: due 20" in done.out
    assert "\ntask        session.cleanup\n" in done.out
    done = kiqstart_here("runs", "show", running)
    assert (
        f"\nnow         running since 2026-09-21 14:13:20.000 UTC: worker {WORKER} on host-7, process 4711\n"
        "progress    40 %, 400 of 1,000 rows\\x1b[2J\n"
        "task        ping\n"
    ) in done.out
    progress = json.loads(kiqstart_here("runs", "show", running, "--json").out)["now"]["progress"]
    assert progress == {"done": 400, "total": 1000, "text": "rows\x1b[2J"}


def test_tasks_that_have_not_ended_are_listed_and_found(
    kiqstart_here: Kiqstart, redis_url: str, keys: QueueKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    for state in ("waiting", "delayed", "running"):
        assert kiqstart_here("runs", "list", "--state", state).out == f"no such task is {state}\n"
    running, *waits = (asyncio.run(send("session.cleanup", days_old=days)) for days in (7, 30, 31, 32))
    delayed = asyncio.run(send("session.cleanup", delay=3600, days_old=40))
    take(keys, redis_url, running)
    done = kiqstart_here("runs", "list", "--state", "running", environment={"COLUMNS": "80"})
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "since (UTC)     place      try  task\n"
        f"09-21 14:13:20  running  try 1  {running}  session.cleanup\n"
        f"    queue default: days_old=7\n    worker {WORKER} on host-7, process 4711\n"
        "    40 %, 400 of 1,000 rows\\x1b[2J\n"
    )
    done = kiqstart_here("runs", "list", "--state", "waiting", "--limit", "2")
    assert [line.split()[-2] for line in done.out.splitlines()[1:5:2]] == waits[:2]
    assert done.out.splitlines()[2] == "    queue default: days_old=30"
    assert done.out.splitlines()[5:] == [
        "2 of 3 waiting tasks were looked at, those that wait longest: --limit says how many"
    ]
    found = json.loads(kiqstart_here("runs", "list", "--state", "waiting", "--limit", "2", "--json").out)
    assert ([one["task_id"] for one in found["tasks"]], found["looked_at"], found["not_looked_at"]) == (waits[:2], 2, 1)
    done = kiqstart_here("runs", "list", "--state", "waiting", "--argument", "days_old=32", "--look-at", "2")
    assert done.out == (
        "no such task is waiting\n"
        "2 of 3 waiting tasks were looked at, those that wait longest: --look-at says how many\n"
    )
    for options, ids in (
        (("waiting", "--argument", "days_old=32"), waits[2:]),
        (("waiting", "--argument", 'days_old="32"'), []),
        (("waiting", "--task", "ping"), []),
        (("waiting", "--queue", "low"), []),
        (("delayed", "--argument", "days_old=40", "--task", "session.cleanup"), [delayed]),
        (("delayed", "--text", delayed[:12].upper(), "--queue", "default"), [delayed]),
        (("running", "--text", "HOST-7"), [running]),
    ):
        found = json.loads(kiqstart_here("runs", "list", "--json", "--state", *options).out)
        assert [one["task_id"] for one in found["tasks"]] == ids, options


async def test_what_ends_is_printed_as_it_ends_until_ctrl_c(
    registry: TasksRegistry, worker: ProcessFactory, service_environment: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "kiqstart", "runs", "watch", "--json", "--task", "ping"]
    out = tmp_path / "out"
    with worker(), out.open("wb") as file:
        await (await registry.ping.kiq()).wait_result(timeout=HANG)
        watching = subprocess.Popen(  # noqa: ASYNC220  # nobody else is in this loop
            command, env={**os.environ, **service_environment}, cwd=tmp_path, stdout=file, stderr=subprocess.PIPE
        )
        seen: set[str] = set()

        async def is_seen() -> bool:
            seen.add((await registry.ping.kiq()).task_id)
            return out.stat().st_size > 0

        try:
            await eventually(is_seen)
        finally:
            watching.send_signal(signal.SIGINT)
        _, err = await asyncio.to_thread(watching.communicate, timeout=HANG)
    assert (watching.returncode, err) == (0, b"")
    printed = [json.loads(line) for line in out.read_text().splitlines()]
    assert {one["task_id"] for one in printed} <= seen
    assert {(one["task"], one["outcome"], one["result"]) for one in printed} == {
        ("ping", "succeeded", '{"result": "pong"}')
    }


async def test_what_a_run_has_logged_in_a_worker_is_shown_with_it(
    kiqstart_here: Kiqstart, registry: TasksRegistry, worker: ProcessFactory
) -> None:
    with worker():
        sent = await registry.session_cleanup.kiq(days_old=0)
        await sent.wait_result(timeout=HANG)
    done = await asyncio.to_thread(kiqstart_here, "runs", "show", sent.task_id)
    [line] = [line for line in done.out.splitlines() if line.startswith("log ")]
    assert re.fullmatch(r"log         [0-9:.]{12}Z INFO kiqstart\.retention\S*: .*", line)
