"""What goes on just now, in one frame and live."""

import asyncio
import json
import os
import pty
import select
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis
from tests.deadlines import HANG
from tests.end_to_end.cli.in_process import Kiqstart

from kiqstart.broker.histogram import Histogram
from kiqstart.broker.run_stats import Outcome
from kiqstart.broker.settings import TasksSettings
from kiqstart.broker.task_stats import TaskStats
from kiqstart.cli.application import stream_broker
from kiqstart.operations.pulse import Pulse, QueuePulse
from kiqstart.operations.rates import Rates
from kiqstart.testing import eventually

NOW = datetime(2026, 11, 30, tzinfo=UTC)
NAME = "a.queue.with.a.name.that.is.longer.than.a.narrow.window.has.room.for.in.one.of.its.lines"


async def fill(redis_url: str, key_prefix: str) -> None:
    """Two tasks that wait, and a worker that says what it runs."""
    keys = TasksSettings(key_prefix=key_prefix).keys
    async with stream_broker() as broker:
        for _ in range(2):
            await broker.ping.kiq()
    with Redis.from_url(redis_url) as redis:
        now = redis.time()[0] * 1000
        redis.zadd(keys.workers, {"kiq-1": now})
        info = {"queues": ["default", NAME], "host": "worker-7", "pid": 4711, "slots": 50}
        redis.hset(keys.worker_info, "kiq-1", json.dumps(info))
        run = {"entry": "1-0@x", "task": "mail.\x1b[2J", "id": "an-id", "began": now - 180_000, "done": 1, "total": 4}
        redis.hset(keys.running, "kiq-1", json.dumps([run]))
        redis.sadd(keys.queues, "default", NAME)
        redis.hset(keys.stats_of_hour(now), mapping={"ping\nstarted": 2, "ping\nsucceeded": 1, "ping\nfailed": 1})
        times = {"run:0": 2, "run:us": 8000, "wait:3": 1, "wait:10": 1, "wait:us": 7_200_000_000}
        redis.hset(keys.stats_of_hour(now), mapping={f"ping\n{name}": count for name, count in times.items()})


def test_one_frame_has_all_that_goes_on(kiqstart_here: Kiqstart, redis_url: str, key_prefix: str) -> None:
    asyncio.run(fill(redis_url, key_prefix))
    found = json.loads(kiqstart_here("top", "--json").out)
    [default] = [one for one in found["queues"] if one["name"] == "default"]
    assert (default["waiting"], default["running"], default["workers"]) == (2, 0, 1)
    assert default["oldest_seconds"] >= 0
    [worker] = found["workers"]
    assert (worker["host"], worker["slots"], worker["running"][0]["progress"]["total"]) == ("worker-7", 50, 4)
    [ping] = found["tasks"]
    assert (ping["task"], ping["failed"], ping["rate"] > 0) == ("ping", 1, True)
    assert (ping["mean"], ping["p95"], ping["wait_mean"], ping["wait_p95"]) == (0.004, 0.01, 3600, None)
    [listed] = [one for one in json.loads(kiqstart_here("tasks", "list", "--json").out) if one["name"] == "ping"]
    assert listed["recent"] == pytest.approx({**ping, "rate": listed["recent"]["rate"]})
    for command in ("top", "tasks"):
        [line] = [one for one in kiqstart_here(command).out.splitlines() if one.startswith("ping ") and "≤" in one]
        assert " 4 ms, ≤ 10 ms " in line
        assert " 60 min, over 1 h" in line
    shown = kiqstart_here("top", environment={"COLUMNS": "80"}).out
    assert max(map(len, shown.splitlines())) <= 80
    assert "\x1b" not in shown
    whole = "".join(line.split("  ")[0].strip() for line in shown.splitlines())
    assert NAME in whole
    assert "mail.\\x1b[2J for 3 min, 25 %, 1 of 4  an-id on worker-7" in shown


def pulse(seconds: float, *, waiting: int, taken: int | None, failed: int) -> Pulse:
    queue = QueuePulse(
        name="default", waiting=waiting, running=0, oldest_seconds=None, taken=taken, workers=1, is_paused=False
    )
    run = Histogram(counts=(failed, *[0] * 10), seconds=failed * 0.004)
    stats = TaskStats(task="mail", started=failed, ended={Outcome.FAILED: failed}, run=run)
    return Pulse(
        at=NOW + timedelta(seconds=seconds), queues=[queue], workers=[], delayed=0, dead_letters=0, stats=[stats]
    )


def test_rates_are_of_the_last_five_minutes() -> None:
    rates = Rates()
    rates.note(pulse(0, waiting=0, taken=0, failed=1000))
    assert rates.of_queue(pulse(0, waiting=0, taken=0, failed=0).queues[0]).put is None
    seen = [pulse(at, waiting=at, taken=at * 2, failed=1000 + at) for at in range(10, 610, 10)]
    for one in seen:
        rates.note(one)
    assert rates.seconds == 300
    queue = rates.of_queue(seen[-1].queues[0])
    assert (queue.put, queue.taken) == (3.0, 2.0)
    [task] = rates.of_tasks()
    assert (task.task, task.rate, task.failed, task.p95) == ("mail", 1.0, 300, 0.01)
    assert task.mean == pytest.approx(0.004)
    # Redis has lost its data, or its clock was set.
    rates.note(pulse(5, waiting=3, taken=1, failed=1))
    assert rates.of_tasks() == []


@pytest.mark.parametrize("ending", ["q", "Ctrl-C"])
async def test_it_is_redrawn_in_place_until_one_ends_it(
    service_environment: dict[str, str], tmp_path: Path, ending: str
) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "kiqstart", "top", "--interval", "0.5"]
    environment = {**os.environ, **service_environment, "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(  # noqa: ASYNC220  # nobody else is in this loop
        command, env=environment, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE
    )
    os.close(theirs)
    seen = b""

    async def is_redrawn() -> bool:
        nonlocal seen
        while select.select([ours], [], [], 0)[0]:
            try:
                seen += os.read(ours, 100_000)
            except OSError:  # nobody has the other end any more
                break
        return seen.count(b"\x1b[H") > 1

    try:
        await eventually(is_redrawn)
        if ending == "q":
            os.write(ours, b"q")
        else:
            process.send_signal(signal.SIGINT)
        _, err = await asyncio.to_thread(process.communicate, timeout=HANG)
        await is_redrawn()
    finally:
        process.kill()
        os.close(ours)
    assert (process.returncode, err) == (0, b"")
    assert b"no worker lives" in seen
    assert seen.endswith(b"\x1b[?25h\x1b[?1049l")
