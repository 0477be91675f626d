import asyncio
import json
import re
import threading

import pytest
from redis import Redis
from tests.deadlines import HANG
from tests.end_to_end.cli.in_process import Kiqstart
from tests.kiqstart.integration.broker.brokers import Brokers, working
from tests.kiqstart.integration.dashboard.browser import VIEWER, browsing, text_of

from kiqstart.cli.application import stream_broker
from kiqstart.tasks.progress import report_progress
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually


async def work_for(kiqstart: Kiqstart, *arguments: str) -> tuple[int, str, str]:
    """Run a command while a worker lives."""
    async with stream_broker() as broker:
        consumer = await broker.consume()
        done = await asyncio.to_thread(kiqstart, *arguments)
        return done.code, done.out.replace(consumer.lease.worker, "NAME"), done.err


async def send_to(queue: str) -> None:
    async with stream_broker() as broker:
        ping = broker.find_task("ping")
        assert ping is not None
        await ping.kicker().with_labels(queue_name=queue).kiq()


def test_nobody_is_there(kiqstart_here: Kiqstart) -> None:
    done = kiqstart_here("workers")
    assert (done.code, done.out, done.err) == (0, "no worker lives\n", "")
    assert json.loads(kiqstart_here("workers", "--json").out) == []


def test_what_waits_for_nobody_is_told_and_is_a_failure(kiqstart_here: Kiqstart) -> None:
    asyncio.run(send_to("forgotten"))
    done = kiqstart_here("queues")
    assert done.code == 1
    assert done.err == "kiqstart: 1 task waits in the queue 'forgotten', which no worker takes\n"
    [line] = [line for line in done.out.splitlines() if line.startswith("forgotten")]
    assert (line.split()[1], line.split()[-1]) == ("1", "unserved")
    [queue] = [one for one in json.loads(kiqstart_here("queues", "--json").out) if one["name"] == "forgotten"]
    assert {name: queue[name] for name in ("waiting", "running", "workers")} == {
        "waiting": 1, "running": 0, "workers": 0
    }  # fmt: skip
    assert "note    queues      tasks wait that no worker takes: 1 in 'forgotten'" in kiqstart_here("check").out


def test_all_that_runs_is_told_with_ids_to_cancel_it_by(
    kiqstart_here: Kiqstart, redis_url: str, key_prefix: str
) -> None:
    with Redis.from_url(redis_url) as redis:
        seconds, _ = redis.time()
        redis.zadd(f"{{{key_prefix}}}:tasks:workers", {"kiq-one": seconds * 1000})
        tasks = [
            {
                "entry": f"{number}-0@x",
                "task": "work",
                "id": f"id-{number}",
                "began": (seconds + number) * 1000,
                "done": number,
                "total": 10,
            }
            for number in range(60)
        ]
        redis.hset(f"{{{key_prefix}}}:tasks:workers:running", "kiq-one", json.dumps(tasks[:4]))
        said = kiqstart_here("workers").out
        assert [line for line in said.splitlines() if "work for" in line and ", 30 %, 3 of 10  id-3 on kiq-one" in line]
        assert all(f"id-{number}" in said for number in range(4))
        since = re.findall(
            r'^kiqstart_task_running_since_timestamp_seconds\{.*task="work",worker="kiq-one"\} (\S+)$',
            kiqstart_here("metrics").out,
            re.MULTILINE,
        )
        assert [float(one) for one in since] == [seconds]
        redis.hset(f"{{{key_prefix}}}:tasks:workers:running", "kiq-one", json.dumps(tasks))
    assert "and 10 more (--json has them)" in kiqstart_here("workers").out


def test_a_worker_that_died_is_told_with_its_host_and_what_it_ran(
    kiqstart_here: Kiqstart, redis_url: str, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kiqstart_here("workers", "--lost").out == "no worker is known to have died in the last seven days\n"
    assert json.loads(kiqstart_here("workers", "--lost", "--json").out) == []
    with Redis.from_url(redis_url) as redis:
        seconds, _ = redis.time()
        running = [{"entry": "1-0@x", "task": "work", "id": "5f0c", "began": seconds * 1000, "done": 1, "total": 2}]
        said = {
            "worker": "kiq-one",
            "beat": str(seconds * 1000),
            "info": json.dumps({"queues": ["default"], "host": "worker-7", "pid": 4711}),
            "running": json.dumps(running),
        }
        redis.zadd(f"{{{key_prefix}}}:tasks:workers:lost", {json.dumps(said): seconds * 1000})
    monkeypatch.setenv("TZ", "UTC")
    assert re.search(r"1 died in the last 24 hours, the last one at .* UTC: ", kiqstart_here("workers").out)
    title, *lines = kiqstart_here("workers", "--lost").out.splitlines()
    assert title == "died (UTC)      worker"
    assert lines[0].endswith("  kiq-one")
    assert lines[1].startswith("    on worker-7, process 4711; its last beat was at ")
    assert lines[2].startswith("    ran work since ")
    assert lines[2].endswith("  5f0c")
    [one] = json.loads(kiqstart_here("workers", "--lost", "--json").out)
    assert {name: one[name] for name in ("name", "host", "pid", "queues")} == {
        "name": "kiq-one", "host": "worker-7", "pid": 4711, "queues": ["default"]
    }  # fmt: skip
    assert one["running"][0]["progress"] == {"done": 1, "total": 2, "text": ""}


async def test_a_worker_that_computes_in_its_event_loop_is_seen_as_blocked_wherever_one_looks(
    kiqstart_here: Kiqstart, redis_url: str, key_prefix: str
) -> None:
    brokers = Brokers(redis_url, f"{{{key_prefix}}}:tasks")
    worker, other, seen = brokers(), brokers(), dict[str, str]()

    async def look() -> None:
        async def is_seen() -> bool:
            seen["workers"] = (await asyncio.to_thread(kiqstart_here, "workers")).out
            return "blocked for" in seen["workers"]

        async with browsing(other) as browser:
            await eventually(is_seen)
            await browser.log_in(VIEWER)
            for name in ("workers", "top", "check", "metrics"):
                seen[name] = (await asyncio.to_thread(kiqstart_here, name)).out
            seen["json"] = (await asyncio.to_thread(kiqstart_here, "workers", "--json")).out
            seen["page"], seen["overview"] = [text_of(await browser.get(path)) for path in ("/workers", "/")]
        await other.shutdown()

    async def compute() -> None:
        # The event loop does nothing for so long.
        looker = threading.Thread(target=asyncio.run, args=(look(),))
        looker.start()
        looker.join(HANG)

    is_computed = asyncio.Event()

    async def wait() -> None:
        # It runs longer, and harms nobody.
        report_progress(1, 2)
        await is_computed.wait()

    async def is_waiting() -> bool:
        return "wait for" in (await asyncio.to_thread(kiqstart_here, "workers")).out

    task, waiting = register_task(worker, compute, name="compute"), register_task(worker, wait, name="wait")
    async with working(worker):
        await waiting.kiq()
        await eventually(is_waiting)
        await (await task.kiq()).wait_result(timeout=HANG)
        is_computed.set()

        async def is_well() -> bool:
            [found] = json.loads((await asyncio.to_thread(kiqstart_here, "workers", "--json")).out)
            return found["blocked_seconds"] is None and found["loop_lag"] >= 1

        await eventually(is_well)
    await brokers.close()
    [found] = json.loads(seen["json"])
    assert found["blocked_seconds"] >= 1
    assert found["loop_lag"] >= found["blocked_seconds"]
    assert [(task["task"], task["is_blocking"]) for task in found["running"]] == [("wait", False), ("compute", True)]
    assert re.search(r"blocked for \d", seen["top"])
    assert re.search(r"compute for [0-9.]+ \w+, blocks the event loop", seen["workers"])
    place = rf"{found['name']} on {re.escape(found['host'])}, process {found['pid']},"
    said = rf"the event loop of {place} is blocked for [0-9.]+ \w+, by compute [0-9a-f]+"
    assert re.search(f"note    workers     {said}", seen["check"])
    assert re.search(f"Workers look {said}", seen["overview"])
    assert re.search(r"blocked for [0-9.]+ \w+", seen["page"])
    assert "compute, blocks the event loop" in seen["page"]
    [lag] = re.findall(r"^kiqstart_worker_loop_lag_seconds\S* (\S+)$", seen["metrics"], re.MULTILINE)
    assert float(lag) >= 1


def test_names_of_strangers_are_printed_harmless(kiqstart_here: Kiqstart, redis_url: str, key_prefix: str) -> None:
    with Redis.from_url(redis_url) as redis:
        seconds, _ = redis.time()
        redis.zadd(f"{{{key_prefix}}}:tasks:workers", {"odd\x1b[2J\nname": seconds * 1000})
    for arguments in (("workers",), ("workers", "--json")):
        assert "\x1b" not in kiqstart_here(*arguments).out
