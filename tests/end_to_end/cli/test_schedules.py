import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from taskiq import ScheduledTask
from tests.end_to_end.cli.in_process import Kiqstart

from kiqstart.cli.application import stream_broker
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.testing import ProcessFactory
from todo_service.delivery.tasks.schedules import SCHEDULES

# Whoever adds a schedule to the service, as its README has it, breaks nothing here.
STATIC = len(list(SCHEDULES))
SENT_BY_ITSELF = "cleanup-completed-todos-daily"


def on_broker(work: Callable[[DurableScheduleSource], Awaitable[None]]) -> None:
    async def run() -> None:
        async with stream_broker() as broker:
            await work(DurableScheduleSource(broker))

    asyncio.run(run())


async def add_some(source: DurableScheduleSource) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for place in range(3):
        once = ScheduledTask(
            task_name="ping", labels={}, args=[], kwargs={}, schedule_id=f"once-{place}\x1b[2J",
            time=tomorrow + timedelta(minutes=place),
        )  # fmt: skip
        await source.add_schedule(once)


def test_schedules_are_listed_the_tables_and_some_of_the_others(scheduled: Kiqstart) -> None:
    on_broker(add_some)
    done = scheduled("schedules", "list", "--limit", "2")
    assert (done.code, done.err) == (0, "")
    for schedule in SCHEDULES:
        assert f"\n{schedule.name} " in done.out
        assert f"\n  {schedule.task}" in done.out
    assert "days_old=30" in done.out
    assert r"once-1\x1b[2J " in done.out
    assert "once-2" not in done.out
    assert done.out.endswith(f"{STATIC + 2} of {STATIC + 3} schedules\n")


def test_that_nobody_sends_schedules_is_said(kiqstart_here: Kiqstart) -> None:
    done = kiqstart_here("schedules", "list")
    assert (done.code, done.out) == (0, "0 of 0 schedules\n")
    assert done.err.startswith("kiqstart: no scheduler is running: start `kiqstart scheduler`")


def test_schedules_are_paused_and_resumed_by_their_names(scheduled: Kiqstart) -> None:
    done = scheduled("schedules", "pause", SENT_BY_ITSELF, "unheard\x1b[2J.of")
    assert (done.code, done.out) == (1, f"{SENT_BY_ITSELF}\n1 paused, 1 not\n")
    assert done.err == "kiqstart: there is no schedule 'unheard\\x1b[2J.of'\n"
    listed = scheduled("schedules", "list").out
    assert listed.splitlines()[-1] == f"{STATIC} of {STATIC} schedules, 1 paused"
    [line] = [line for line in listed.splitlines() if line.startswith(SENT_BY_ITSELF)]
    assert line.rstrip().endswith(" paused")
    resumed = scheduled("schedules", "resume", SENT_BY_ITSELF)
    assert resumed.code == 0
    assert resumed.out.startswith(f"{SENT_BY_ITSELF}  is due at 2")
    assert resumed.out.endswith("T02:00:00Z\n1 resumed\n")
    assert "paused" not in scheduled("schedules", "list").out


def test_only_what_was_added_is_removed(scheduled: Kiqstart) -> None:
    on_broker(add_some)
    done = scheduled("schedules", "remove", "once-0\x1b[2J", SENT_BY_ITSELF)
    assert (done.code, done.out) == (1, "once-0\\x1b[2J\n1 removed, 1 not\n")
    assert (
        done.err == f"kiqstart: schedule '{SENT_BY_ITSELF}' is in the service's table: remove it there, or pause it\n"
    )
    assert scheduled("schedules", "list").out.endswith(f"{STATIC + 2} of {STATIC + 2} schedules\n")


def test_next_needs_no_redis_for_the_table_and_finds_what_was_added(
    scheduled: Kiqstart, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_broker(add_some)
    added = scheduled("schedules", "next", "once-1\x1b[2J", SENT_BY_ITSELF, "--count", "2")
    assert added.code == 0
    assert added.out.startswith("once-1\\x1b[2J  once\n  ")
    assert added.out.count("\n") == 6
    assert scheduled("schedules", "next", "unheard").err == "kiqstart: there is no schedule 'unheard'\n"
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    shown = scheduled("schedules", "next", SENT_BY_ITSELF, "--from", "2026-10-24", "--count", "2")
    assert shown.out == (
        f"{SENT_BY_ITSELF}  0 2 * * * UTC\n"
        "  Sat 2026-10-24 02:00:00+00:00 UTC  2026-10-24 02:00:00 UTC\n"
        "  Sun 2026-10-25 02:00:00+00:00 UTC  2026-10-25 02:00:00 UTC\n"
    )
    table = scheduled("schedules", "next", "--count", "3").out
    assert sum(line.startswith("  ") for line in table.splitlines()) == 3 * STATIC
    wrong = scheduled("schedules", "next", "--from", "soon")
    assert (wrong.code, wrong.out) == (1, "")
    assert wrong.err.startswith("kiqstart: --from 'soon' is no time: ")


def test_a_run_without_a_worker_is_sent_and_not_waited_for_longer_than_asked(scheduled: Kiqstart) -> None:
    done = scheduled("schedules", "run", "ping-every-minute", "unheard", "--wait", "--timeout", "0.1")
    assert done.code == 1
    sent, count, none = done.out.splitlines()
    assert sent.startswith("ping-every-minute@2")
    assert (count, none) == ("1 sent, 1 not", "0 done, 1 not")
    unknown, late = done.err.splitlines()
    assert unknown == "kiqstart: there is no schedule 'unheard'"
    why = "no worker takes it: waiting in the queue default since "
    assert late.startswith(f"kiqstart: {sent} has not ended within 0.1 s: {why}")


def test_a_run_is_done_by_a_worker_and_its_result_is_shown(scheduled: Kiqstart, worker: ProcessFactory) -> None:
    with worker():
        ran = scheduled("schedules", "run", "ping-every-minute", "cleanup-sessions-daily", "--wait", "--timeout", "30")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[2] == "2 sent"
    assert lines[3].startswith(lines[0] + "  0.")
    assert lines[3].endswith('s  {"result":"pong"}')
    assert '"deleted_count":0' in lines[4]
