"""Each role does all of its work with the least rights in Redis, and is refused the rest."""

import asyncio
import re
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from redis.exceptions import ResponseError
from taskiq.serializers import ORJSONSerializer
from tests.deadlines import HANG
from tests.end_to_end.cli.in_process import Kiqstart
from tests.kiqstart.integration.broker.brokers import working
from tests.kiqstart.integration.dashboard.browser import VIEWER, Browser, browsing, text_of
from tests.kiqstart.integration.redis.servers import Server, make_server, running

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.retries import RetryMiddleware
from kiqstart.broker.rights import missing_rights
from kiqstart.broker.roles import Role, acl_rules, commands_of
from kiqstart.redis.connections import RedisConnections
from kiqstart.scheduler.clock import StoreClock
from kiqstart.scheduler.definition import ScheduleDefinition
from kiqstart.scheduler.scheduler_loop import SchedulerLoop
from kiqstart.scheduler.scheduler_stats import SchedulerStats
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.scheduler.store import ScheduleStore
from kiqstart.scheduler.triggers import IntervalTrigger
from kiqstart.tasks.arguments import ArgumentsMiddleware
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.results.errors import TaskCancelledError
from kiqstart.tasks.uniqueness import UniquenessMiddleware
from kiqstart.testing import eventually

PREFIX = "roles"
KEYS = QueueKeys(f"{{{PREFIX}}}:tasks", results=f"{{{PREFIX}}}:result")
DEPLOYMENT = Path(__file__).parents[3] / "docs" / "deployment.md"
QUICK = StreamOptions(lease=1.0, misfit_grace=0.1, max_deliveries=3, quarantine=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with running(make_server(tmp_path_factory.mktemp("server"))) as server:
        with server.client() as client:
            is_old = int(client.info("server")["redis_version"].split(".")[0]) < 7
        for role in Role:
            rules = acl_rules(role, KEYS)
            if is_old:
                rules = [rule.replace("%R~", "~") for rule in rules]
            server.ask("ACL", "SETUSER", role, "reset", "on", f">pw-{role}", *rules)
        yield server


def url_of(server: Server, role: Role) -> str:
    return f"redis://{role}:pw-{role}@127.0.0.1:{server.port}/0"


def broker_of(server: Server, role: Role) -> StreamBroker:
    broker = StreamBroker(
        url_of(server, role), queue_name=KEYS.name, result_prefix=KEYS.result_prefix[:-1], options=QUICK
    )
    broker.with_serializer(ORJSONSerializer()).with_middlewares(
        ArgumentsMiddleware(), UniquenessMiddleware(), RetryMiddleware(broker)
    )

    async def echo(number: int) -> int:
        return number

    async def once(number: int) -> int:
        return number

    async def fails() -> None:
        raise ValueError("no")

    async def sleeps() -> None:
        await asyncio.sleep(60)

    async def sends() -> int:
        sent = await broker.find_task("echo").kiq(number=7)  # type: ignore[union-attr]  # it is registered
        return int((await sent.wait_result(timeout=HANG)).return_value)

    register_task(broker, echo, name="echo")
    register_task(broker, once, name="once", unique="once:{number}")
    register_task(broker, fails, name="fails", max_retries=1, retry_delay=0.1)
    register_task(broker, fails, name="breaks")
    register_task(broker, sleeps, name="sleeps")
    register_task(broker, sends, name="sends")
    return broker


def no_refusals(server: Server) -> None:
    """INFO is asked for and done without."""
    entries = cast("list[dict[bytes, bytes]]", server.ask("ACL", "LOG"))
    server.ask("ACL", "LOG", "RESET")
    assert [entry for entry in entries if entry[b"object"] != b"info"] == []


async def test_producers_and_workers_work_with_their_rights(server: Server) -> None:
    server.ask("FLUSHALL")
    server.ask("ACL", "LOG", "RESET")
    producer, worker = broker_of(server, Role.PRODUCER), broker_of(server, Role.WORKER)
    tasks = {name: producer.find_task(name) for name in ("echo", "once", "fails", "sleeps", "sends")}
    echo, once, fails, sleeps, sends = tasks.values()
    assert echo and once and fails and sleeps and sends  # noqa: PT018  # they are registered
    # What a worker that is gone has left.
    server.ask("XGROUP", "CREATE", KEYS.name, producer.consumer_group_name, "0", "MKSTREAM")
    gone = [await echo.kiq(number=1), await echo.kiq(number=2)]
    server.ask("XREADGROUP", "GROUP", producer.consumer_group_name, "gone", "COUNT", "1", "STREAMS", KEYS.name, ">")
    server.ask("ZADD", KEYS.workers, "1", "gone")
    server.ask("XADD", KEYS.name, "*", "x", "y")
    server.ask("XADD", KEYS.name, "*", "data", "garbage")
    async with working(worker):
        assert [(await one.wait_result(timeout=HANG)).return_value for one in gone] == [1, 2]
        assert (await (await sends.kiq()).wait_result(timeout=HANG)).return_value == 7
        many = await echo.kiq_many([echo.call(number=number) for number in range(300)])  # type: ignore[attr-defined]  # not taskiq's
        assert (await many[-1].wait_result(timeout=HANG)).return_value == 299
        first, second = await once.kicker().with_labels(delay=3).kiq(number=1), await once.kiq(number=1)
        assert first.task_id == second.task_id
        assert (await first.wait_result(timeout=HANG)).return_value == 1
        assert isinstance((await (await fails.kiq()).wait_result(timeout=HANG)).error, ValueError)
        later, running_one = await echo.kicker().with_labels(delay=60).kiq(number=1), await sleeps.kiq()
        for task_id in (later.task_id, running_one.task_id):
            await producer.cancel(task_id)
        for cancelled in (later, running_one):
            assert isinstance((await cancelled.wait_result(timeout=HANG)).error, TaskCancelledError)
        assert await first.is_ready()
        await producer.result_backend.get_progress(first.task_id)

        async def all_is_buried() -> bool:
            return server.ask("XLEN", KEYS.dead) == 3

        await eventually(all_is_buried)
    await producer.shutdown()
    assert server.ask("HEXISTS", KEYS.stats, "echo\nsent")
    no_refusals(server)


async def ticked(
    server: Server, scheduler: StreamBroker, store: ScheduleStore, every: ScheduleDefinition
) -> SchedulerLoop:
    """A scheduler that has sent, and has counted that."""
    stats = SchedulerStats(KEYS, [every.name])
    ticker = SchedulerLoop(scheduler, store, [every], clock=StoreClock(), send_deadline=1.0, stats=stats)

    async def is_sent() -> bool:
        await ticker.tick()
        await stats.flush(scheduler.connection.redis, at_once=True)
        return server.ask("XLEN", KEYS.name) != 0

    await eventually(is_sent)
    return ticker


@dataclass(frozen=True)
class Command:
    """`kiqstart` as one of the roles."""

    server: Server
    kiqstart_here: Kiqstart

    def __call__(self, role: Role, *arguments: str) -> str:
        """Run it, and give what it prints."""
        environment = {"REDIS_URL": url_of(self.server, role), "TASKS_KEY_PREFIX": PREFIX}
        done = self.kiqstart_here(*arguments, environment=environment)
        no_refusals(self.server)
        assert "Traceback" not in done.err
        return done.out + done.err


def look_around(command: Command) -> None:
    role = Role.VIEWER
    assert "every" in command(role, "schedules", "list")
    assert "every" in command(role, "schedules", "next", "every")
    assert "default" in command(role, "queues")
    for what in ("workers", "runs", "acts"):
        command(role, what)
    assert "  once\n" in command(role, "runs", "list", "--state", "waiting")
    for state in ("delayed", "running"):
        assert "no such task" in command(role, "runs", "list", "--state", state)
    assert "nothing is known" in command(role, "runs", "show", "nobodys")
    assert "0 of 0 dead letters" in command(role, "dead", "list")
    assert "no dead letter" in command(role, "dead", "show", "x")


def operate(command: Command) -> None:
    listed = command(Role.OPERATOR, "schedules", "list")
    assert "every" in listed
    assert "added" in listed
    for act in ("pause", "resume", "run", "next", "remove"):
        assert "added" in command(Role.OPERATOR, "schedules", act, "added")
    assert "1 of 1 dead letter" in command(Role.OPERATOR, "dead", "list")
    letter = re.findall(r"\d+-\d+", command(Role.OPERATOR, "dead", "list"))[0]
    assert "malformed" in command(Role.OPERATOR, "dead", "show", letter)
    assert "cannot be sent again" in command(Role.OPERATOR, "dead", "retry", "--all", "--yes")
    assert "0 dropped" in command(Role.OPERATOR, "dead", "purge", "--all", "--yes", "--older-than", "1d")
    assert "1 dropped" in command(Role.OPERATOR, "dead", "purge", letter)
    assert "0 sent again" in command(Role.OPERATOR, "runs", "retry", "--all", "--yes")
    assert "is not known" in command(Role.OPERATOR, "cancel", "x")
    for kind, name in (("queue", "low"), ("task", "echo")):
        assert "1 paused" in command(Role.OPERATOR, "pause", kind, name)
        assert "1 resumed" in command(Role.OPERATOR, "resume", kind, name)
    # An operator may do all that a viewer may.
    assert commands_of(Role.VIEWER) < commands_of(Role.OPERATOR)
    look_around(command)
    acts = command(Role.OPERATOR, "acts")
    assert "cancel-task" in acts
    assert "pause-schedule" in acts
    check_all(command)


def check_all(command: Command) -> None:
    for role in (Role.OPERATOR, Role.VIEWER, Role.MONITOR):
        assert 'kiqstart_schedule_times_total{outcome="sent",schedule="every",' in command(role, "metrics")
        checked = command(role, "check", "--scheduler", "--role", role)
        assert "FAILED" not in checked
        assert "ok      scheduler   polled" in checked


async def test_schedulers_operators_and_monitors_work_with_their_rights(
    server: Server, kiqstart_here: Kiqstart
) -> None:
    server.ask("FLUSHALL")
    server.ask("ACL", "LOG", "RESET")
    producer, scheduler = broker_of(server, Role.PRODUCER), broker_of(server, Role.SCHEDULER)
    added = DurableScheduleSource(producer)
    echo = producer.find_task("echo")
    assert echo is not None
    await echo.kicker().with_schedule_id("added").schedule_by_time(added, datetime.now(UTC) + timedelta(days=1), 1)
    store = DurableScheduleSource(scheduler).store
    every = ScheduleDefinition(
        name="every", task="once", timing=IntervalTrigger(every=timedelta(seconds=1)), kwargs={"number": 1}
    )
    ticker = await ticked(server, scheduler, store, every)
    assert server.ask("XLEN", KEYS.name) == 1
    server.ask("XADD", KEYS.dead, "*", "data", "x", "queue", KEYS.name, "reason", "malformed", "detail", "d")
    no_refusals(server)

    command = Command(server, kiqstart_here)

    async def look() -> None:
        while True:
            await ticker.tick()
            await asyncio.sleep(0.5)

    looking = asyncio.create_task(look())
    await asyncio.to_thread(operate, command)
    looking.cancel()
    await asyncio.wait({looking})
    await ticker.leave()
    for broker in (producer, scheduler):
        await broker.shutdown()
    no_refusals(server)


OTHERS = [
    *(["FLUSHALL"], ["KEYS", "*"], ["GET", "other"], ["CONFIG", "GET", "requirepass"], ["ACL", "LIST"], ["MONITOR"]),
    *(["EVAL", f"return redis.call({call})", "0"] for call in ("'GET','other'", "'FLUSHALL'")),
]
FETCH = ["XREADGROUP", "GROUP", "workers", "me", "STREAMS", KEYS.name, ">"]
PURGE = ["XTRIM", KEYS.dead, "MAXLEN", "0"]
CHANNEL = ["PUBLISH", KEYS.result("x"), ""]
SET, RESULT = ["SET", f"{KEYS.name}:x", "1"], ["GET", KEYS.result("x")]
REFUSED = {
    Role.PRODUCER: [FETCH, PURGE, ["XACK", KEYS.name, "workers", "1-1"]],
    Role.WORKER: [["XREVRANGE", KEYS.dead, "+", "-"]],
    Role.SCHEDULER: [FETCH, PURGE, RESULT, CHANNEL, ["XRANGE", KEYS.name, "-", "+"]],
    Role.OPERATOR: [FETCH, ["XACK", KEYS.name, "workers", "1-1"]],
    Role.VIEWER: [
        *(FETCH, PURGE, SET, CHANNEL, ["XADD", KEYS.name, "*", "a", "b"], ["HSET", KEYS.paused, "a", "b"]),
        ["EVAL", "return redis.call('SET', KEYS[1], '1')", "1", f"{KEYS.name}:x"],
        ["EVAL", "return redis.call('XADD', KEYS[1], '*', 'a', 'b')", "1", KEYS.acts],
    ],
    Role.MONITOR: [FETCH, PURGE, SET, RESULT, ["EVAL", "return 1", "0"], ["XADD", KEYS.name, "*", "a", "b"]],
}


@pytest.mark.parametrize("role", Role)
async def test_a_role_is_refused_the_rest(server: Server, role: Role) -> None:
    client = RedisConnections(url_of(server, role)).async_client(timeout=HANG)
    assert await missing_rights(client, KEYS, role) == []
    for command in OTHERS + REFUSED[role]:
        with pytest.raises(ResponseError, match=r"NOPERM|permission|can't run this command|can't access"):
            await client.execute_command(*command)
    await client.aclose()


@pytest.mark.parametrize("role", Role)
async def test_a_right_that_a_role_lacks_is_named(server: Server, role: Role) -> None:
    rules = [rule for rule in acl_rules(role, KEYS) if rule not in ("+zmscore", f"&{{{PREFIX}}}*")]
    server.ask("ACL", "SETUSER", "someone", "reset", "on", ">pw", *rules)
    client = RedisConnections(f"redis://someone:pw@127.0.0.1:{server.port}/0").async_client(timeout=HANG)
    wanted = ["+zmscore"] if role in (Role.MONITOR, Role.SCHEDULER, Role.VIEWER) else ["+zmscore", f"&{{{PREFIX}}}*"]
    assert await missing_rights(client, KEYS, role) == wanted
    await client.aclose()


@pytest.mark.parametrize("role", Role)
def test_the_rights_of_each_role_are_documented(role: Role) -> None:
    documented = re.findall(
        rf"^ACL SETUSER {role} on >PASSWORD (.*?)\n```", DEPLOYMENT.read_text(), re.DOTALL | re.MULTILINE
    )
    keys = QueueKeys("{kiqstart}:tasks", results="{kiqstart}:result")
    assert [one.split() for one in documented] == [acl_rules(role, keys)]


DONE = [
    ("is paused", "/queues/pause?name=low"),
    ("is resumed", "/queues/resume?name=low"),
    ("is paused", "/tasks/pause?name=echo"),
    ("is resumed", "/tasks/resume?name=echo"),
    ("is paused", "/schedules/pause?name=added"),
    ("is due at", "/schedules/resume?name=added"),
    ("has sent its task", "/schedules/run?name=added"),
    ("is not known", "/runs/cancel?id=unknown"),
    ("1 dead letter is sent again", "/dead/retry?task=fails"),
    ("0 dead letters are dropped", "/dead/purge?older_than=1d"),
    ("1 task is sent again", "/runs/retry?task=breaks"),
]
PAGES = [
    "/",
    "/metrics",
    "/queues",
    "/workers",
    "/schedules",
    "/runs",
    "/runs?text=no",
    "/runs?state=waiting",
    "/runs?state=delayed",
    "/runs?state=running",
    "/dead",
    "/dead?task=fails",
    "/acts",
]


async def see_outstanding(browser: Browser, delayed: str) -> None:
    assert delayed in (await browser.get("/runs?state=delayed&argument=number%3D1")).text
    assert "It is due at" in text_of(await browser.get(f"/runs/task?id={delayed}"))
    assert "kiq-gone" in text_of(await browser.get("/runs?state=running"))
    assert "It runs since" in text_of(await browser.get("/runs/task?id=taken"))


async def see_all(browser: Browser, task_id: str) -> None:
    for path in (*PAGES, f"/runs/task?id={task_id}", f"/dead/letter?id={task_id}"):
        page = await browser.get(path)
        assert page.status_code == 200, page.text


async def test_the_dashboard_has_enough_with_a_viewers_and_an_operators_rights(server: Server) -> None:
    server.ask("FLUSHALL")
    worker = broker_of(server, Role.WORKER)
    echo, fails, breaks = (worker.find_task(name) for name in ("echo", "fails", "breaks"))
    assert echo and fails and breaks  # noqa: PT018  # they are registered
    source = DurableScheduleSource(broker_of(server, Role.PRODUCER))
    async with working(worker):
        failed = await fails.kiq()
        await failed.wait_result(timeout=HANG)
        await (await breaks.kiq()).wait_result(timeout=HANG)
        await (await echo.kiq(number=1)).wait_result(timeout=HANG)
        await echo.kicker().with_schedule_id("added").schedule_by_interval(source, 3600, 1)
        delayed = await echo.kicker().with_labels(delay=3600).kiq(number=1)
        low = KEYS.stream("low")
        server.ask("SADD", KEYS.untaken, "low")
        server.ask("XGROUP", "CREATE", low, worker.consumer_group_name, "0", "MKSTREAM")
        server.ask("XADD", low, "*", "data", '{"task_id":"taken","task_name":"echo","labels":{},"args":[],"kwargs":{}}')
        server.ask("XREADGROUP", "GROUP", worker.consumer_group_name, "kiq-gone", "STREAMS", low, ">")
        server.ask("ACL", "LOG", "RESET")
        viewing, acting = broker_of(server, Role.VIEWER), broker_of(server, Role.OPERATOR)
        async with browsing(viewing) as browser:
            await browser.log_in(VIEWER)
            await see_all(browser, failed.task_id)
            await see_outstanding(browser, delayed.task_id)
        no_refusals(server)
        async with browsing(acting) as browser:
            await browser.log_in()
            await see_all(browser, failed.task_id)
            for said, path in DONE:
                assert said in text_of(await browser.submit(path)), path
            assert "pause-queue" in text_of(await browser.get("/acts"))
        no_refusals(server)
    for broker in (viewing, acting):
        await broker.shutdown()


async def test_a_viewers_user_of_redis_changes_nothing_whoever_logs_in(server: Server) -> None:
    server.ask("FLUSHALL")
    broker = broker_of(server, Role.VIEWER)
    async with browsing(broker) as browser:
        await browser.log_in()
        page = await browser.submit("/queues/pause?name=low")
        assert page.status_code == 503
        assert "has no permissions to run the 'hsetnx' command" in text_of(page)
        assert "No queue and no task is paused" in text_of(await browser.get("/queues"))
        message = '{"task_id":"an-id","task_name":"breaks","labels":{},"args":[],"kwargs":{}}'
        block = f"1f default kiq-1 host:1\n1-0 1 1 1 0 {len(message)} 0 0\n{message}"
        server.ask("XADD", KEYS.failed_runs, f"1-{int(datetime.now(UTC).timestamp() * 1000)}", "runs", block)
        page = await browser.submit("/runs/retry?id=an-id")
        assert page.status_code == 503
        assert "Redis cannot be used" in text_of(page)
        assert server.ask("EXISTS", KEYS.name, KEYS.resent_runs) == 0
    await broker.shutdown()
