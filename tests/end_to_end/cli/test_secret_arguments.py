"""A secret that is an argument is in no output: beside its name it is known, and it is always beside its name."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest
import pytest_asyncio
from tests.deadlines import HANG
from tests.end_to_end.cli.in_process import Kiqstart
from tests.kiqstart.integration.broker.brokers import Brokers, working
from tests.kiqstart.integration.dashboard.browser import browsing

from kiqstart.broker.broker import StreamBroker
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.sent_task import SentTask
from kiqstart.tasks.task import Task

# Not the sign of `planted_secrets`: what the test's own process logs, pytest shows as it is.
SECRET = "swordfish-argument-7"
REASON = f"the server is redis://me:{SECRET}@host/0"
COMMANDS = [
    *(("pause", "queue", "low", "--reason", REASON), ("schedules", "pause", "kept", "--reason", REASON)),
    *(("runs", "list"), ("runs", "list", "--json"), ("runs", "list", "--text", SECRET)),
    *(("runs", "list", "--state", state, *more) for state in ("waiting", "delayed") for more in ((), ("--json",))),
    *(("dead", "list"), ("dead", "list", "--json"), ("schedules", "list"), ("schedules", "list", "--json")),
    *(("schedules", "next"), ("acts",), ("acts", "--json"), ("queues",), ("queues", "--json"), ("metrics",)),
]
PAGES = [
    *("/", "/queues", "/workers", "/schedules", "/runs", "/dead", "/acts", "/schedules/run?name=kept"),
    *("/runs?state=waiting", "/runs?state=delayed"),
]


@pytest_asyncio.fixture
async def brokers(redis_url: str, key_prefix: str) -> AsyncGenerator[Brokers]:
    made = Brokers(redis_url, f"{{{key_prefix}}}:tasks")
    yield made
    await made.close()


@pytest.fixture
def broker(brokers: Brokers) -> StreamBroker:
    made = brokers()

    async def log_in(user: str, password: str, tries: int = 1) -> dict[str, str]:
        if user == "nobody":
            raise ValueError(f"refused: password={password}, tries={tries}")
        return {"token": password}

    register_task(made, log_in, name="log_in", max_retries=1, retry_delay=0, unique="{user}:{tries}")
    return made


async def test_a_secret_is_shown_nowhere_however_it_was_handed_in(
    broker: StreamBroker, kiqstart_here: Kiqstart
) -> None:
    task = cast("Task[..., Any]", broker.find_task("log_in"))
    async with working(broker):
        sent: list[SentTask[Any]] = [
            await task.kiq("ada", SECRET, 2),
            await task.kiq("nobody", SECRET),
            await task.kiq("nobody", password=SECRET, tries=3),
            *await task.kiq_many([task.call("bob", SECRET)]),
        ]
        results = [await one.wait_result(timeout=HANG) for one in sent]
    assert [one.is_err for one in results] == [False, True, True, False]
    assert results[0].return_value == {"token": SECRET}
    await (
        task.kicker().with_schedule_id("kept").schedule_by_interval(DurableScheduleSource(broker), 3600, "ada", SECRET)
    )

    waits = [await task.kiq("cyd", SECRET, 4), await task.kicker().after(3600).kiq("cyd", password=SECRET, tries=5)]

    def run(*arguments: str) -> str:
        done = kiqstart_here(*arguments)
        # A queue that nobody takes is nothing good.
        assert done.code == int(arguments[0] == "queues"), done
        assert SECRET not in done.out + done.err, arguments
        return done.out

    def run_all() -> None:
        shown = [("runs", "show", one.task_id) for one in (*sent, *waits)]
        for command in (*COMMANDS, *shown, ("dead", "show", sent[1].task_id)):
            run(*command)
        for command in (*shown[:2], ("dead", "show", sent[1].task_id)):
            run(*command, "--json")
        # A search tells nothing of what it does not show.
        for state in ((), ("--state", "waiting")):
            assert run("runs", "list", *state, "--text", SECRET[4:]) == run("runs", "list", *state, "--text", "-no-")

    await asyncio.to_thread(run_all)
    async with browsing(broker) as browser:
        await browser.log_in()
        tasks = [f"/runs/task?id={one.task_id}" for one in (sent[0], *waits)]
        for path in (*PAGES, *tasks, f"/dead/letter?id={sent[1].task_id}"):
            page = await browser.get(path)
            assert page.status_code == 200, page.text
            assert SECRET not in page.text, path
