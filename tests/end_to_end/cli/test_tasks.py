import asyncio
import base64
import json
import os
import re
from typing import cast

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ConnectionError as RedisConnectionError
from tests.deadlines import HANG
from tests.end_to_end.cli.in_process import Kiqstart
from tests.planted_secrets import check_output

from kiqstart.broker.keys import QueueKeys
from kiqstart.cli.application import stream_broker
from kiqstart.cli.results import NotDoneError, result_of
from kiqstart.tasks.sent_task import SentTask
from kiqstart.testing import ProcessFactory, eventually


def waiting(redis_url: str, key_prefix: str) -> int:
    with Redis.from_url(redis_url) as redis:
        return int(redis.xlen(QueueKeys(f"{{{key_prefix}}}:tasks").name))


def test_tasks_are_listed_as_json_with_what_they_take(kiqstart_here: Kiqstart) -> None:
    assert kiqstart_here("tasks").out == kiqstart_here("tasks", "list").out
    kiqstart_here("pause", "task", "ping", "--reason", "why")
    found = {one["name"]: one for one in json.loads(kiqstart_here("tasks", "list", "--json").out)}
    cleanup = found["session.cleanup"]
    assert cleanup["queue"] == "default"
    assert {one["name"]: one["is_required"] for one in cleanup["arguments"]}["dry_run"] is False
    assert cleanup["schedules"][0]["name"].startswith("cleanup-sessions")
    assert cleanup["paused"] is None
    assert found["ping"]["paused"]["reason"] == "why"
    assert "the task 'ping' is paused for" in kiqstart_here("tasks").out


def test_tasks_are_listed_without_a_server(kiqstart_here: Kiqstart, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = kiqstart_here("tasks", environment={"REDIS_URL": "redis://127.0.0.1:1"})
    assert listed.code == 0
    assert "session.cleanup" in listed.out
    assert listed.err.startswith("kiqstart: what is paused is not known, nor how tasks fared: ")
    monkeypatch.delenv("REDIS_URL")
    assert "session.cleanup" in kiqstart_here("tasks").out


async def test_a_task_is_run_with_options_of_its_signature(kiqstart_here: Kiqstart, worker: ProcessFactory) -> None:
    with worker():
        done = await asyncio.to_thread(
            kiqstart_here, "tasks", "run", "ping", "--wait", "--timeout", "20", "--reason", "does it work?"
        )
    assert (done.code, done.err) == (0, "")
    assert '{"result":"pong"}' in done.out
    [act] = json.loads((await asyncio.to_thread(kiqstart_here, "acts", "--json")).out)
    assert (act["act"], act["target"], act["reason"]) == ("run-task", "ping", "does it work?")
    assert act["detail"] in done.out


def test_arguments_that_are_encrypted_stand_in_no_act_either(
    kiqstart_here: Kiqstart, redis_url: str, key_prefix: str
) -> None:
    first, second = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
    keys = {"TASKS_SIGNING_KEYS": f"one:{first}", "TASKS_ENCRYPTION_KEYS": f"two:{second}"}
    done = kiqstart_here("tasks", "run", "session.cleanup", "--days-old", "987", environment=keys)
    assert (done.code, done.err) == (0, "")
    [act] = json.loads(kiqstart_here("acts", "--json").out)
    assert act["detail"].endswith(" encrypted")
    with Redis.from_url(redis_url) as redis:
        [(_, fields)] = cast(
            "list[tuple[bytes, dict[bytes, bytes]]]", redis.xrange(QueueKeys(f"{{{key_prefix}}}:tasks").name)
        )
    assert b'"encrypted":"1:two:' in fields[b"data"]


def test_what_is_sent_has_its_arguments(kiqstart_here: Kiqstart, redis_url: str, key_prefix: str) -> None:
    done = kiqstart_here("tasks", "run", "session.cleanup", "--days-old", "7", "--row-limit", "100", "--dry-run")
    assert (done.code, done.err) == (0, "")

    async def sent() -> list[dict[str, object]]:
        async with stream_broker() as broker:
            entries = await cast("AsyncRedis", broker.connection.redis).xrange(broker.keys.name)
            found = cast("list[tuple[bytes, dict[bytes, bytes]]]", entries)
            return [dict(broker.formatter.loads(fields[b"data"]).kwargs) for _, fields in found]

    assert asyncio.run(sent()) == [{"days_old": 7, "row_limit": 100, "dry_run": True}]
    # Of a second one, the first has the unique key.
    refused = kiqstart_here("tasks", "run", "session.cleanup", "--days-old", "7", "--dry-run")
    assert refused.code == 1
    assert "session.cleanup is not sent, since task " in refused.err
    assert waiting(redis_url, key_prefix) == 1


@pytest.mark.usefixtures("kiqstart_here")  # its environment
async def test_who_waits_is_told_how_far_a_task_is(capsys: pytest.CaptureFixture[str], redis_url: str) -> None:
    async with stream_broker() as broker, AsyncRedis.from_url(redis_url) as redis:
        run = {"entry": "1-0@x", "task": "ping", "id": "an-id", "began": 1_790_000_000_000, "done": 1, "total": 3}
        said = list[str]()

        async def is_said() -> bool:
            await redis.hset(broker.keys.running, "kiq-1", json.dumps([run]))
            said.append(capsys.readouterr().err)
            return bool("".join(said))

        waiting = asyncio.create_task(result_of(broker, "an-id", None, says_progress=True))
        await eventually(is_said)
        waiting.cancel()
        assert "".join(said) == "33 %, 1 of 3\n"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is told at once, and every look is the last one before a task counts as gone."""
    for name in ("OF_SILENCE", "UNTIL_GONE", "BETWEEN_LOOKS"):
        monkeypatch.setattr(f"kiqstart.cli.task_watch._SECONDS_{name}", 0.0)


@pytest.mark.usefixtures("kiqstart_here", "impatient")  # its environment
async def test_who_waits_for_a_task_that_redis_has_lost_is_told_and_waits_no_longer() -> None:
    async with stream_broker() as broker:
        with pytest.raises(NotDoneError, match=r"^an-id: it is gone: it is nowhere in Redis, and has no result"):
            await asyncio.wait_for(result_of(broker, "an-id", None, says_progress=False), HANG)


@pytest.mark.usefixtures("impatient")
async def test_who_waits_for_a_task_whose_result_is_kept_no_longer_is_told_how_it_ended(
    kiqstart_here: Kiqstart, worker: ProcessFactory
) -> None:
    with worker():
        done = await asyncio.to_thread(kiqstart_here, "tasks", "run", "ping", "--wait")
    task_id = done.out.partition(" ")[0]
    async with stream_broker() as broker:
        await SentTask[object](task_id, broker.result_backend).forget()
        with pytest.raises(NotDoneError, match=f"^{task_id}: it has ended .succeeded., and its result is not kept"):
            await asyncio.wait_for(result_of(broker, task_id, None, says_progress=False), HANG)


@pytest.mark.usefixtures("impatient")
async def test_who_waits_for_a_task_that_no_worker_takes_is_told_so(
    kiqstart_here: Kiqstart, capsys: pytest.CaptureFixture[str]
) -> None:
    task_id = (await asyncio.to_thread(kiqstart_here, "tasks", "run", "ping")).out.strip()
    said = list[str]()

    async def is_said() -> bool:
        said.append(capsys.readouterr().err)
        return bool("".join(said))

    async with stream_broker() as broker:
        waiting = asyncio.create_task(result_of(broker, task_id, None, says_progress=False))
        await eventually(is_said)
        waiting.cancel()
    assert "".join(said).startswith("no worker takes it: waiting in the queue default since ")


async def test_who_waits_too_long_is_told_what_the_task_waits_for(kiqstart_here: Kiqstart) -> None:
    await asyncio.to_thread(kiqstart_here, "pause", "queue", "default", "--reason", "why")
    done = await asyncio.to_thread(kiqstart_here, "tasks", "run", "ping", "--wait", "--timeout", "0.1")
    assert done.code == 1
    assert " has not ended within 0.1 s: it is paused: waiting in the queue default since " in done.err


@pytest.mark.usefixtures("kiqstart_here", "impatient")  # its environment
async def test_who_waits_while_redis_is_away_is_told_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = list[str]()

    async def is_said() -> bool:
        said.append(capsys.readouterr().err)
        return bool("".join(said))

    async def refuses(*_: object) -> None:
        raise RedisConnectionError("Error 111 connecting to there")

    async with stream_broker() as broker:
        monkeypatch.setattr("kiqstart.cli.task_watch.find_task", refuses)
        waiting = asyncio.create_task(result_of(broker, "an-id", None, says_progress=False))
        await eventually(is_said)
        assert not waiting.done()
        waiting.cancel()
    assert re.fullmatch(r"Redis at \S+ does not answer: Error 111 connecting to there\n", "".join(said))


def test_a_dry_run_sends_nothing(kiqstart_here: Kiqstart, redis_url: str, key_prefix: str) -> None:
    done = kiqstart_here("tasks", "run", "--dry-run", "session.cleanup", "--days-old", "7")
    said, _, message = done.out.partition("\n")
    assert (done.code, said) == (0, "would send session.cleanup(days_old=7); nothing was sent")
    sent = json.loads(message)
    assert (sent["task_name"], sent["kwargs"]) == ("session.cleanup", {"days_old": 7})
    assert sent["labels"]["unique"] == "session.cleanup:7:False"
    assert waiting(redis_url, key_prefix) == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["session.clean"], "there is no task 'session.clean': did you mean 'session.cleanup'?"),
        (["nothing"], "there is no task 'nothing': see `kiqstart tasks`"),
        (["x\x1b[2J"], r"there is no task 'x\x1b[2J': see `kiqstart tasks`"),
        (["session.cleanup", "--days-old", "soon"], "--days-old 'soon': Input should be a valid integer"),
        (["session.cleanup", "--days-old=-1"], "--days-old '-1': Input should be greater than or equal to 0"),
        (["session.cleanup", "--weeks", "1"], "unrecognized arguments: --weeks 1; see kiqstart tasks run"),
    ],
)
def test_a_call_that_makes_no_sense_is_one_line(kiqstart_here: Kiqstart, words: list[str], line: str) -> None:
    done = kiqstart_here("tasks", "run", *words)
    assert (done.code, done.out) == (1, "")
    assert line in done.err
    assert done.err.count("\n") == 1
    check_output(done.err)


def test_help_names_the_tasks_arguments(kiqstart_here: Kiqstart) -> None:
    done = kiqstart_here("tasks", "run", "session.cleanup", "--help")
    assert done.code == 0
    assert "--days-old VALUE" in done.out
    assert "--row-limit VALUE" in done.out
