import asyncio
import json
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis
from tests.end_to_end.cli.in_process import Kiqstart

from kiqstart.broker.acts import MOST_KEPT, SECONDS_KEPT, Act, Acts, Operator
from kiqstart.broker.keys import QueueKeys
from kiqstart.cli.application import stream_broker


def keys_of(key_prefix: str) -> QueueKeys:
    return QueueKeys(f"{{{key_prefix}}}:tasks")


def acts(kiqstart: Kiqstart) -> list[dict[str, str]]:
    done = kiqstart("acts", "--json")
    assert (done.code, done.err) == (0, "")
    return list(json.loads(done.out))


def test_who_did_what_when_and_why_is_kept(scheduled: Kiqstart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    monkeypatch.setattr("socket.gethostname", lambda: "jump-host")
    name = "cleanup-sessions-daily"
    assert scheduled("schedules", "pause", name, "--reason", "the database is moved").code == 0
    monkeypatch.setenv("TZ", "XYZ-5")
    time.tzset()
    assert scheduled("acts").out.startswith("when (XYZ) ")
    monkeypatch.delenv("TZ")
    time.tzset()
    listed = scheduled("schedules", "list").out
    assert re.search(
        rf"^the schedule '{name}' is paused for .*, by .+@.+: the database is moved$", listed, re.MULTILINE
    )
    metrics = scheduled("metrics").out
    assert re.search(rf'^kiqstart_paused{{kind="schedule",name="{name}",.*}} 1.0$', metrics, re.MULTILINE)
    last = r'^kiqstart_last_act_timestamp_seconds{act="pause-schedule",host="jump-host",.*,user="ada"} (\S+)$'
    assert abs(float(re.findall(last, metrics, re.MULTILINE)[0]) - time.time()) < 60
    scheduled("schedules", "resume", name, "--because", "it is moved")
    sent = scheduled("schedules", "run", name).out.split()[0]
    scheduled("cancel", sent, "--reason", "by mistake")
    assert [(one["act"], one["target"], one["detail"], one["reason"]) for one in acts(scheduled)] == [
        ("cancel-task", sent, "waiting", "by mistake"),
        ("run-schedule", name, sent, ""),
        ("resume-schedule", name, "", "it is moved"),
        ("pause-schedule", name, "", "the database is moved"),
    ]
    newest = acts(scheduled)[0]
    assert (newest["user"], newest["host"]) == ("ada", "jump-host")
    assert abs(datetime.fromisoformat(newest["at"]) - datetime.now(UTC)) < timedelta(minutes=1)
    shown = scheduled("acts", "--limit", "1").out
    assert "ada@jump-host" in shown
    assert "why: by mistake" in shown
    assert "resume-schedule" not in shown


def test_what_was_not_done_is_not_kept(scheduled: Kiqstart) -> None:
    assert scheduled("schedules", "pause", "nobody").code == 1
    assert scheduled("acts").out == "nobody has done anything that is kept\n"
    assert acts(scheduled) == []


def test_an_act_whose_record_cannot_be_kept_is_done_all_the_same(
    scheduled: Kiqstart, redis_url: str, key_prefix: str
) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.set(keys_of(key_prefix).acts, "something else")
    done = scheduled("schedules", "pause", "cleanup-sessions-daily")
    assert (done.code, done.out) == (0, "cleanup-sessions-daily\n1 paused\n")
    assert done.err.startswith("kiqstart: done, but not kept in the log of acts: ")
    assert done.err.count("\n") == 1


def test_reasons_are_kept_without_secrets_and_shown_harmless(scheduled: Kiqstart) -> None:
    scheduled("cancel", "x\x1b[2J", "--reason", "see https://me:hunter2@wiki\x1b[31m\n")
    for done in (scheduled("acts"), scheduled("acts", "--json")):
        assert "hunter2" not in done.out
        assert "\x1b" not in done.out


async def test_the_log_is_bounded_by_count_and_age(kiqstart_here: Kiqstart, redis_url: str, key_prefix: str) -> None:
    someone, key = Operator(user="ada", host="here"), keys_of(key_prefix).acts
    with Redis.from_url(redis_url) as redis:
        for number in range(1, 201):
            redis.xadd(key, {"act": "run-task"}, id=f"{number}-0")
        async with stream_broker() as broker:
            log = Acts(broker.connection.redis, broker.keys)
            await log.record([Act(kind="run-task", target="first")], by=someone)
            assert [one.target for one in await log.newest(1000)] == ["first"]
            for _ in range(MOST_KEPT // 500 + 1):
                await log.record([Act(kind="run-task", target="more")] * 500, by=someone)
        assert redis.xlen(key) <= MOST_KEPT + 100
        assert redis.xrange(key, max=str(redis.time()[0] * 1000 - SECONDS_KEPT * 1000)) == []
    assert len(json.loads((await asyncio.to_thread(kiqstart_here, "acts", "--json", "--limit", "7")).out)) == 7


def test_a_task_that_was_cancelled_before_it_ran_is_shown_with_who_did_it(kiqstart_here: Kiqstart) -> None:
    sent = kiqstart_here("tasks", "run", "ping", "--reason", "try it").out.strip()
    kiqstart_here("cancel", sent, "--reason", "by mistake")
    done = kiqstart_here("runs", "show", sent)
    assert (done.code, done.err) == (0, "")
    assert "no run of it is kept, and it waits nowhere" in done.out
    found = json.loads(kiqstart_here("runs", "show", sent, "--json").out)
    assert (found["now"], found["runs"]) == (None, [])
    assert [(one["act"], one["detail"], one["reason"]) for one in found["acts"]] == [
        ("cancel-task", "waiting", "by mistake"),
        ("run-task", sent, "try it"),
    ]
    assert found["acts"][0]["user"] in done.out
    assert "why: by mistake" in done.out
