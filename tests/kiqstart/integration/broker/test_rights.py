"""A Redis that refuses the user: for some seconds, or in part."""

import asyncio
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from pydantic import SecretStr
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, working
from tests.kiqstart.integration.redis.servers import Server, make_server, running

import kiqstart as package
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.operator_acts import UnansweredError
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.rights import (
    PROBES,
    MissingRightsError,
    check_rights,
    missing_rights,
)
from kiqstart.broker.sender import SendFailedError
from kiqstart.redis.client import check_redis, create_redis
from kiqstart.redis.connections import RedisConnections
from kiqstart.redis.settings import RedisSettings
from kiqstart.tasks.registration import register_task


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with running(make_server(tmp_path_factory.mktemp("server"))) as server:
        yield server


def set_user(server: Server, name: str, *rules: str) -> str:
    """Make a user anew, and give the URL with which it comes."""
    server.ask("ACL", "LOG", "RESET")
    # As Redis 7 has it; a new user of Redis 6.2 may use all channels.
    server.ask("ACL", "SETUSER", name, "reset", "resetchannels", "on", ">pw", *rules)
    return f"redis://{name}:pw@127.0.0.1:{server.port}/0"


@contextmanager
def another_password(server: Server, user: str) -> Generator[None]:
    """For the block, a user has another password, or one at all where it had none."""
    change = ("resetpass", ">other") if user == "app" else (">other",)
    server.ask("ACL", "SETUSER", user, *change)
    server.password = "other" if user == "default" else None
    server.ask("CLIENT", "KILL", "USER", user)
    yield
    server.ask("ACL", "SETUSER", user, *(("resetpass", ">pw") if user == "app" else ("nopass",)))
    server.password = None
    server.ask("CLIENT", "KILL", "USER", user)


@pytest.mark.parametrize(("user", "complaint"), [("app", "username-password pair"), ("default", "asks for a password")])
async def test_a_password_that_is_wrong_for_some_seconds_runs_nothing_twice_and_sends_say_so_at_once(
    server: Server, queue_name: str, user: str, complaint: str
) -> None:
    url = set_user(server, "app", "~*", "&*", "+@all") if user == "app" else f"redis://127.0.0.1:{server.port}/0"
    brokers = Brokers(url, queue_name)
    broker = brokers(options=StreamOptions(lease=1.0, send_deadline=1e6))
    runs: list[int] = []
    may_end = asyncio.Event()

    async def note(number: int) -> int:
        runs.append(number)
        await may_end.wait()
        return number

    task = register_task(broker, note, name="note")
    async with working(broker):
        sent = [await task.kiq(number=number) for number in range(5)]
        while len(runs) < 5:  # noqa: ASYNC110  # the tasks begin at once
            await asyncio.sleep(0.01)
        with another_password(server, user):
            may_end.set()
            with pytest.raises(SendFailedError) as caught:
                await task.kiq(number=9)
            assert complaint in str(caught.value)
            assert "\n" not in str(caught.value)
            await asyncio.sleep(0.5)
        results = [await one.wait_result(timeout=HANG) for one in sent]
    assert [one.return_value for one in results] == [0, 1, 2, 3, 4]
    assert sorted(runs) == [0, 1, 2, 3, 4]
    await brokers.close()


async def test_whoever_may_not_read_streams_is_told_so_and_not_that_there_is_no_such_task(
    server: Server, queue_name: str
) -> None:
    brokers = Brokers(f"redis://127.0.0.1:{server.port}/0", queue_name)

    async def double(number: int) -> int:
        return number * 2

    sent = await register_task(brokers(), double, name="double").kiq(number=1)
    blind = brokers(url=set_user(server, "blind", "~*", "&*", "+@all", "-xrange"))
    with pytest.raises(UnansweredError, match="no permissions to run the 'xrange' command; cancel it again"):
        await blind.cancel(sent.task_id)
    await brokers.close()


async def test_whoever_may_not_subscribe_waits_for_results_all_the_same_and_is_told_once(
    server: Server, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    brokers = Brokers(f"redis://127.0.0.1:{server.port}/0", queue_name)
    worker, deaf = brokers(), brokers(url=set_user(server, "deaf", "~*", "resetchannels", "+@all"))

    async def double(number: int) -> int:
        return number * 2

    for broker in (worker, deaf):
        register_task(broker, double, name="double")
    task = deaf.find_task("double")
    assert task is not None
    async with working(worker):
        first = await (await task.kiq(number=1)).wait_result(timeout=HANG)
        later = await asyncio.gather(*[(await task.kiq(number=number)).wait_result(timeout=HANG) for number in (2, 3)])
    assert [first.return_value, *(one.return_value for one in later)] == [2, 4, 6]
    assert sum("SUBSCRIBE" in record.message for record in caplog.records) == 1
    await brokers.close()


KEYS = QueueKeys("{kiqstart}:tasks", results="{kiqstart}:result")
ROOT = Path(__file__).parents[4]
CATEGORIES = "+@read +@write +@connection +@pubsub +@scripting +@transaction +info"


async def missing_to(server: Server, rules: str, keys: QueueKeys = KEYS) -> list[str]:
    client = RedisConnections(set_user(server, "someone", *rules.split())).async_client(timeout=HANG)
    try:
        return await missing_rights(client, keys)
    finally:
        await client.aclose()
        # Trying leaves nothing behind.
        assert server.ask("KEYS", "*") == []


@pytest.mark.parametrize(
    ("rules", "missing"),
    [
        ("~* &* +@all", []),
        ("~{kiqstart}* &{kiqstart}* +@all -@dangerous", []),
        ("~* +@all", ["&{kiqstart}*"]),
        ("~kiqstart:* &kiqstart:* +@all -@dangerous +info", ["~{kiqstart}*", "&{kiqstart}*"]),
        (f"~* &* -@all {CATEGORIES}", ["+time"]),
        ("~* &* +@all -publish -xgroup -zadd", ["+xgroup|create", "+xgroup|delconsumer", "+zadd", "+publish"]),
        ("~* &* +@all -subscribe", ["+subscribe"]),
        ("~* &* +@all -eval", ["+eval"]),
        ("~* &* +@all -evalsha", ["+evalsha"]),
        ("~* &* +@read +eval +evalsha", ["+set", "+publish", "+subscribe"]),
    ],
    ids=str,
)
async def test_what_a_user_lacks_is_named_as_an_acl_takes_it(server: Server, rules: str, missing: list[str]) -> None:
    server.ask("FLUSHALL")
    assert await missing_to(server, rules) == missing


async def test_keys_and_results_of_other_names_are_named_each(server: Server) -> None:
    server.ask("FLUSHALL")
    missing = await missing_to(server, "~x &x +@all", QueueKeys("taskiq", results="results"))
    assert missing == ["~taskiq", "~{taskiq}*", "~results:*", "&results:*"]


async def test_what_is_missing_is_one_line_without_the_password(server: Server) -> None:
    client = RedisConnections(set_user(server, "someone", "~*", "+@all")).async_client(timeout=HANG)
    try:
        with pytest.raises(MissingRightsError) as caught:
            await check_rights(client, KEYS, address="here")
    finally:
        await client.aclose()
    assert str(caught.value) == (
        "the user of Redis at here lacks rights: add &{kiqstart}* with ACL SETUSER, or in its ACL file"
    )


def test_every_command_of_a_script_is_tried() -> None:
    texts = [path.read_text() for path in Path(package.__path__[0]).glob("*/lua/*.lua")]
    assert len(texts) > 30
    used = {command for text in texts for command in re.findall(r"(?:redis\.p?call|unless_foreign)\('([A-Z]+)'", text)}
    assert used - {"PUBLISH"} <= {probe.split()[0] for probe in PROBES}


def documented_rules(way: str) -> str:
    text = (ROOT / "docs" / "deployment.md").read_text()
    [by_category] = re.findall(r"ACL SETUSER kiqstart on >\S+ (.*)$", text, re.MULTILINE)
    [by_command] = re.findall(r"after `-@all`:\n\n```\n(.*?)```", text, re.DOTALL)
    return by_category if way == "category" else f"~{{kiqstart}}* &{{kiqstart}}* -@all {by_command}"


@pytest.mark.parametrize("way", ["category", "command"])
async def test_the_documented_rights_are_enough(server: Server, way: str) -> None:
    server.ask("FLUSHALL")
    rules = documented_rules(way)
    assert await missing_to(server, rules) == []
    brokers = Brokers(set_user(server, "kiqstart", *rules.split()), "{kiqstart}:tasks")
    broker = brokers()

    async def double(number: int) -> int:
        return number * 2

    task = register_task(broker, double, name="double", unique="double:{number}")
    async with working(broker):
        sent = [await task.kiq(number=1), await task.kicker().after(0.1).kiq(number=2)]
        assert [(await one.wait_result(timeout=HANG)).return_value for one in sent] == [2, 4]
        await broker.cancel((await task.kicker().after(60).kiq(number=3)).task_id)
    await brokers.close()
    # redis-py says who it is where Redis has a command for that.
    refused = cast("list[object]", server.ask("ACL", "LOG"))
    assert [one for one in refused if "b'object': b'client" not in str(one)] == []


async def test_the_version_is_found_without_info(server: Server) -> None:
    settings = RedisSettings(redis_url=SecretStr(set_user(server, "someone", "~*", "&*", "+@all", "-@dangerous")))
    redis = create_redis(settings)
    try:
        with server.client() as observer:
            facts = observer.info("server")
            assert await check_redis(redis, settings.address) == facts.get("valkey_version", facts["redis_version"])
    finally:
        await redis.aclose()
