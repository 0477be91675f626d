"""The dashboard in a real browser: what is done with a mouse, with a keyboard alone, on a phone, in the dark.

With DASHBOARD_PICTURES=docs the pictures of docs/dashboard.md are written anew.
"""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from logging import getLogger
from pathlib import Path
from typing import Any, Final, cast

import pytest
import pytest_asyncio
import uvicorn
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, keeping_lines, working
from tests.kiqstart.integration.dashboard.browser import OPERATOR, settings
from tests.kiqstart.integration.dashboard.chromium.devtools import CHROMIUM, Tab, chromium

from kiqstart.app import App
from kiqstart.broker.acts import Operator
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.pauses import Pausable
from kiqstart.dashboard.application import make_dashboard
from kiqstart.dashboard.streams import MOST, Streams
from kiqstart.operations.pausing import pauses_of
from kiqstart.retention import RetentionEngine, RetentionPolicies, RetentionPolicy
from kiqstart.tasks.registration import register_task
from todo_service.core.todo.models import Todo
from todo_service.core.user.models import User

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")

AXE: Final = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
PAGES: Final = ("/", "/queues", "/workers", "/schedules", "/runs", "/dead", "/acts", "/queues/pause?name=default")
OF_TASKS: Final = (
    "/tasks",
    "/tasks/run?name=shop.order",
    "/tasks/pause-calls?name=shop.order",
    "/tasks/pause?name=work",
)
STATES: Final = tuple(f"/runs?state={state}" for state in ("waiting", "delayed", "running"))
PHONE, DESKTOP = 380, 1280


class QuietServer(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def serving(app: App | StreamBroker, tab: Tab, *, streams: int = MOST) -> AsyncGenerator[str]:
    opened = Streams(most=streams)
    dashboard = make_dashboard(app, settings(), streams=opened)
    server = QuietServer(uvicorn.Config(dashboard, lifespan="off", log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = asyncio.create_task(server.serve([listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        # An open page would complain that it cannot reach the server any more.
        await tab.leave()
        opened.close()
        server.should_exit = True
        await running


@pytest_asyncio.fixture
async def site(broker: StreamBroker, tab: Tab) -> AsyncGenerator[str]:
    async with serving(broker, tab) as address:
        yield address


@pytest_asyncio.fixture
async def tab(tmp_path: Path) -> AsyncGenerator[Tab]:
    async with chromium(tmp_path / "profile") as opened:
        await opened.show(width=DESKTOP)
        yield opened
        # That a form has a value that is none is told by its status, of which Chromium complains.
        assert [one for one in opened.complaints if "status of 422" not in one] == []


class Mail:
    """A task that fails until the mail server is up."""

    is_up = False

    async def send(self, customer: str) -> str:
        getLogger("shop.mail").info("Connecting", extra={"server": "mail.example.com", "customer": customer})
        if not self.is_up:
            raise ConnectionError(f"the mail server does not take mail for {customer}")
        return "sent"


async def by_mouse(tab: Tab, kind: str, name: str) -> None:
    await tab.click(kind, name)


async def by_keyboard(tab: Tab, kind: str, name: str) -> None:
    await tab.tab_to(kind, name)
    if kind != "input":
        await tab.press("Enter")


@pytest.mark.parametrize(
    ("choose", "retries", "question", "said"),
    [
        (by_mouse, 1, "Send the dead letter", "1 dead letter is sent again"),
        (by_keyboard, 1, "Send the dead letter", "1 dead letter is sent again"),
        (by_mouse, 0, "Send the task", "is sent again"),
    ],
)
async def test_a_customers_failed_run_is_found_understood_and_sent_again(
    tab: Tab,
    site: str,
    broker: StreamBroker,
    brokers: Brokers,
    choose: Callable[[Tab, str, str], Awaitable[None]],
    retries: int,
    question: str,
    said: str,
) -> None:
    mail, worker = Mail(), brokers()
    register_task(worker, mail.send, name="mail.send")
    task = register_task(broker, mail.send, name="mail.send", max_retries=retries, retry_delay=0)
    async with working(worker):
        sent = [await task.kiq(f"customer-{number}") for number in range(5)]
        for one in sent:
            await one.wait_result(timeout=HANG)
        mail.is_up = True
        await log_in(tab, site, choose)
        await choose(tab, "nav a", "Runs")
        await tab.reads(f"The newest {5 * (1 + retries)} runs")
        await choose(tab, "input", "Text")
        await tab.type("customer-3")
        await tab.press("Enter")
        await tab.reads(f"The newest {1 + retries} of these runs")
        await choose(tab, "th a", sent[3].task_id)
        await tab.reads("ConnectionError: the mail server does not take mail for customer-3")
        await choose(tab, "a", "Send again")
        await tab.reads(question)
        await choose(tab, "button", "Send again")
        await tab.reads("Try 1: succeeded")
        await tab.reads(said)


async def log_in(tab: Tab, site: str, choose: Callable[[Tab, str, str], Awaitable[None]] = by_mouse) -> None:
    await tab.go(site)
    await choose(tab, "input", "Your name")
    await tab.type("ada")
    await choose(tab, "input", "Password")
    await tab.type(OPERATOR)
    await tab.press("Enter")
    await tab.reads("The last hour")


async def test_every_page_is_for_all_eyes_hands_and_windows(
    tab: Tab, site: str, broker: StreamBroker, brokers: Brokers
) -> None:
    pictures = os.environ.get("DASHBOARD_PICTURES")
    if pictures is not None:
        await count_an_hour(broker)
    failed = await fill(broker, brokers)
    await tab.go(site)
    await check(tab, "login")
    await log_in(tab, site)
    waiting = f"/runs/task?id={await wait_and_take(broker)}"
    for path in (*PAGES, *STATES, waiting, f"/runs/task?id={failed}", f"/dead/letter?id={failed}"):
        await tab.go(site + path)
        await check(tab, path)
        names = {"/": "overview", f"/runs/task?id={failed}": "task"}
        if pictures is not None and path in names:
            # Of a traceback, whose paths are those of whoever takes the pictures, nothing is to be seen.
            await tab.show(width=1120, height=890)
            picture = await tab.picture()
            await asyncio.to_thread((Path(pictures) / f"dashboard-{names[path]}.png").write_bytes, picture)
        elif path == STATES[-1]:
            await tab.reads("kiq-gone")


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


async def order(customer: int, size: Size = Size.SMALL, notes: list[str] | None = None, password: str = "") -> str:
    return f"{customer} {size} {notes} {len(password)}"


@pytest.mark.parametrize("choose", [by_mouse, by_keyboard])
async def test_a_task_is_sent_with_arguments_and_seen_to_end(
    tab: Tab,
    site: str,
    broker: StreamBroker,
    brokers: Brokers,
    choose: Callable[[Tab, str, str], Awaitable[None]],
) -> None:
    worker = brokers()
    for one in (broker, worker):
        register_task(one, order, name="shop.order")
    await pauses_of(broker).pause(Pausable.TASK, "work", by=Operator(user="ada", host="laptop"))
    async with working(worker):
        await log_in(tab, site, choose)
        for path in OF_TASKS:
            await tab.go(site + path)
            await check(tab, path)
        await tab.show(width=DESKTOP)
        await choose(tab, "nav a", "Tasks")
        await tab.reads("tasks of the application")
        await choose(tab, "th a", "Run the task shop.order")
        await tab.reads("Run the task shop.order")
        await choose(tab, "input", "customer (required)")
        await tab.type("x")
        await choose(tab, "button", "Go on")
        await tab.reads("--customer 'x': Input should be a valid integer")
        await check(tab, "a value that is none")
        await tab.show(width=DESKTOP)
        await choose(tab, "input", "customer (required)")
        # What was typed is still there.
        await tab.evaluate("document.getElementById('argument_customer').value = ''")
        await tab.type("7")
        await choose(tab, "button", "Go on")
        await tab.reads("It sends shop.order(customer=7) to the queue default.")
        await check(tab, "the question")
        await tab.show(width=DESKTOP)
        await choose(tab, "input", "password")
        await tab.type("swordfish-7")
        await choose(tab, "button", "Send the task")
        await tab.reads("Try 1: succeeded")
        await tab.reads("7 small None 11")


async def test_the_charts_of_retention_are_for_all_too(
    tab: Tab, broker: StreamBroker, session_factory: async_sessionmaker[AsyncSession]
) -> None:
    engine = RetentionEngine(session_factory)
    nightly = RetentionPolicy(name="todos.completed", model=Todo, predicate=Todo.completed_at.is_not(None))
    for count in (120, 0, 250, 90):
        async with session_factory() as session:
            user = User(username=f"ada-{count}", email="ada@example.com")
            session.add(user)
            await session.flush()
            times = {"is_completed": True, "completed_at": datetime.now(UTC)}
            session.add_all(Todo(user_id=user.id, title=str(number), **times) for number in range(count))
            await session.commit()
        await engine.run(nightly)
    policies = RetentionPolicies(engine, lambda: [nightly])
    async with serving(App(broker=broker, retention=policies), tab) as site:
        await log_in(tab, site)
        await tab.click("nav a", "Retention")
        await tab.reads("460 rows in 4 runs, at most 250 rows")
        assert await tab.evaluate("document.querySelectorAll('svg.chart rect.succeeded').length") == 3
        await check(tab, "/retention")
        if (pictures := os.environ.get("DASHBOARD_PICTURES")) is not None:
            await tab.show(width=1120, height=640)
            picture = await tab.picture()
            await asyncio.to_thread((Path(pictures) / "dashboard-retention.png").write_bytes, picture)


async def check(tab: Tab, page: str) -> None:
    """Look at a page wide and light, and narrow and dark."""
    for width, is_dark in ((DESKTOP, False), (PHONE, True)):
        await tab.show(width=width, is_dark=is_dark)
        ground = await tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(13, 17, 23)") is is_dark, page
        assert await tab.evaluate("document.documentElement.scrollWidth") <= width, page
        assert await violations(tab) == [], f"{page}, {width} pixels"


async def violations(tab: Tab) -> list[dict[str, Any]]:
    await tab.evaluate(f"window.axe || (() => {{ {AXE} }})(); 0")
    said = "violations.map(({id, nodes}) => ({id, where: nodes.map((one) => one.html.slice(0, 200))}))"
    found = await tab.evaluate(f"axe.run().then((done) => done.{said})")
    return cast("list[dict[str, Any]]", found)


async def fill(broker: StreamBroker, brokers: Brokers) -> str:
    """Give all pages something to show; gives the id of a task that is a dead letter."""
    mail, worker = Mail(), brokers()
    register_task(worker, mail.send, name="mail.send")
    bad = register_task(broker, mail.send, name="mail.send", max_retries=2, retry_delay=0)

    async def work(number: int) -> int:
        return number

    good = register_task(worker, work, name="work")
    with keeping_lines(4096):
        async with working(worker):
            failed = await bad.kiq("ada@example.com")
            sent = [await good.kiq(number) for number in range(20)]
            await failed.wait_result(timeout=HANG)
            for one in sent:
                await one.wait_result(timeout=HANG)
    by = Operator(user="ada", host="laptop")
    await pauses_of(broker).pause(Pausable.TASK, "mail.send", by=by, reason="the mail server is down")
    return failed.task_id


async def wait_and_take(broker: StreamBroker) -> str:
    """Let tasks wait, be delayed and run; gives the id of one that waits."""
    task = broker.find_task("mail.send")
    assert task is not None
    redis, group = cast("Redis", broker.connection.redis), broker.consumer_group_name
    await task.kiq("taken@example.com")
    await redis.xreadgroup(group, "kiq-gone", {broker.keys.name: ">"})
    await task.kicker().with_labels(delay=3600).kiq("later@example.com")
    return (await task.kiq("waiting" * 50 + "@example.com")).task_id


async def count_an_hour(broker: StreamBroker) -> None:
    """Fill the charts of a picture."""
    redis = cast("Redis", broker.connection.redis)
    seconds, _ = await redis.time()
    for before in range(1, 60):
        ended, failed = 180 + before * 37 % 71, before * 17 % 23 + 15 if before < 9 else before % 7 // 6
        counts = {"\nstarted": ended, "\nsucceeded": ended, "\nretried": failed, "mail.send\nproblems": failed}
        counts["\nwait:us"] = ended * (40_000 + failed * 9_000)
        await redis.hset(broker.keys.stats_of_minute((seconds - 60 * before) * 1000), mapping=counts)  # type: ignore[arg-type]  # redis-py's is invariant


@pytest.mark.parametrize("streams", [MOST, 0])
async def test_a_page_that_is_open_follows_what_happens(tab: Tab, broker: StreamBroker, streams: int) -> None:
    by = Operator(user="bob", host="phone")
    async with serving(broker, tab, streams=streams) as site:
        await log_in(tab, site)
        await tab.click("nav a", "Queues")
        await tab.reads("No queue and no task is paused")
        if streams:
            await tab.sees("document.documentElement.dataset.shown === 'stream'")
        await pauses_of(broker).pause(Pausable.QUEUE, "default", by=by, reason="it moves")
        await tab.reads("by bob@phone")
        requests = [one["params"]["request"]["headers"] for one in tab.events("Network.requestWillBeSent")]
        polls = [one for one in requests if "hx-request" in {name.lower() for name in one}]
        assert bool(polls) is (streams == 0)
