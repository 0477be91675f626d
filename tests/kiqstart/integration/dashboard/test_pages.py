"""What each page shows, and what is done on it."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from urllib.parse import quote

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from taskiq import ScheduledTask
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, working
from tests.kiqstart.integration.dashboard.browser import VIEWER, Browser, browsing, tags_of, text_of
from tests.kiqstart.integration.redis.users import url_as

from kiqstart.broker.acts import Acts
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.delivery import current_delivery
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.minute_stats import MinuteStats, read_minutes
from kiqstart.dashboard.pages import overview
from kiqstart.observability.kept_lines import KeptLines
from kiqstart.operations.pausing import pauses_of
from kiqstart.redis.commands import AsyncCommands
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.tasks.progress import report_progress
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually

ODD = 'a"><script>x()</script>\x1b[2J\n\u202e%00&name=b'
LETTER = b'{"task_id":"id-%d","task_name":"work","labels":{},"args":[-1],"kwargs":{"password":"swordfish-7"}}'
TRACEBACK = b'Traceback (most recent call last):\n  File "x.py", line 3\nValueError: <b>-1</b> is below 0'


@pytest_asyncio.fixture
async def browser(broker: StreamBroker) -> AsyncGenerator[Browser]:
    async with browsing(broker) as opened:
        await opened.log_in()
        yield opened


async def bury(redis: Redis, broker: StreamBroker, count: int, task: bytes = b"work") -> list[str]:
    fields = {b"queue": broker.keys.name.encode(), b"reason": b"retries-exhausted", b"detail": TRACEBACK}
    letters = [{**fields, b"data": (LETTER % number).replace(b"work", task)} for number in range(count)]
    return [str(await redis.xadd(broker.keys.dead, one), "ascii") for one in letters]  # type: ignore[arg-type]  # redis-py's is invariant


async def acts_of(broker: StreamBroker) -> list[tuple[str, str, str, str]]:
    found = await Acts(broker.connection.redis, broker.keys).newest(10)
    return [(one.kind, one.target, one.by.user, one.reason) for one in found]


async def test_the_overview_shows_what_ran_and_what_is_wrong(
    browser: Browser, broker: StreamBroker, brokers: Brokers
) -> None:
    worker = brokers()

    async def work(number: int) -> int:
        if number < 0:
            raise ValueError(number)
        return number

    register_task(worker, work, name="work")
    task = broker.find_task("work")
    assert task is not None
    for number in (1, 2, -1):
        await task.kiq(number)
    await task.kicker().with_labels(queue_name="unserved").kiq(1)
    async with working(worker):

        async def is_shown() -> bool:
            page = await browser.get("/")
            # A run is counted with the beat that follows it, and each by itself.
            words = ("work: 1 failed of 3 runs", "1 in 'unserved'", "by minute 2 succeeded, 1 failed")
            return all(one in text_of(page) for one in words) and "2 succeeded, 1 failed" in page.text

        await eventually(is_shown)
    page = await browser.get("/")
    assert 'aria-label="2 succeeded, 1 failed"' in page.text
    assert "Runs that ended, by minute 2 succeeded, 1 failed in the last hour, at most" in text_of(page)
    assert "Wait in the queue before a run, mean by minute" in text_of(page)
    assert "Failures of work, by minute 1 in the last hour, at most 1 a minute, at" in text_of(page)
    assert "no scheduler is running" in text_of(page)


async def test_a_redis_that_refuses_the_password_is_a_line(brokers: Brokers, redis_url: str) -> None:
    async with browsing(brokers(url=url_as(redis_url, "nobody", "swordfish-7"))) as browser:
        await browser.log_in(VIEWER)
        for path in ("/", "/workers", "/runs"):
            page = await browser.get(path)
            assert page.status_code == 503
            refused = r"Redis cannot be used \S+: .*; correct the user or the password in REDIS_URL"
            assert re.search(refused, text_of(page))
            assert "swordfish" not in page.text


async def test_queues_are_paused_and_resumed(browser: Browser, broker: StreamBroker) -> None:
    page = await browser.submit("/queues/pause?name=default", reason="the database moves")
    assert "The queue 'default' is paused" in text_of(page)
    assert "by ada@dashboard 10.0.0.9: the database moves" in text_of(page)
    assert [one.name for one in await pauses_of(broker).all()] == ["default"]
    # It is said once.
    assert "The queue 'default' is paused" not in text_of(await browser.get("/queues"))
    assert "was paused already" in text_of(await browser.submit("/queues/pause?name=default"))
    assert "is resumed" in text_of(await browser.submit("/queues/resume?name=default"))
    assert "is not paused" in text_of(await browser.submit("/queues/resume?name=default"))
    assert await acts_of(broker) == [
        ("resume-queue", "default", "ada", ""),
        ("pause-queue", "default", "ada", "the database moves"),
    ]
    shown = text_of(await browser.get("/acts"))
    assert "ada@dashboard 10.0.0.9 pause-queue default the database moves" in shown


async def test_a_queue_says_how_it_is_as_the_command_does(browser: Browser, broker: StreamBroker) -> None:
    task = broker.find_task("work")
    assert task is not None
    await task.kicker().with_labels(queue_name="nobodys").kiq(1)
    assert re.search(r" nobodys 1 \S+ m?s 0 0 unserved ", text_of(await browser.get("/queues")))
    assert re.search(r" nobodys 1 \S+ m?s 0 0 paused ", text_of(await browser.submit("/queues/pause?name=nobodys")))


async def test_tasks_are_paused_by_names_that_are_odd(browser: Browser, broker: StreamBroker) -> None:
    page = await browser.client.get("/tasks/pause", params={"name": ODD})
    assert "<script>x" not in page.text
    token = await browser.token("/queues/pause?name=default")
    await browser.client.post("/tasks/pause", params={"name": ODD}, data={"token": token})
    assert [one.name for one in await pauses_of(broker).all()] == [ODD]
    listed = await browser.get("/queues")
    assert tags_of(listed).count("script") == 1
    link = listed.text.partition('href="/tasks/resume')[2].partition('"')[0].replace("&amp;", "&")
    await browser.submit(f"/tasks/resume{link}")
    assert await pauses_of(broker).all() == []


@pytest.mark.parametrize("path", ["/queues/pause", "/queues/pause?name=%00", "/tasks/pause", "/schedules/run?name=x"])
async def test_what_is_not_there_is_a_line(browser: Browser, path: str) -> None:
    page = await browser.get(path)
    assert page.status_code == 409
    assert "That cannot be done" in page.text


async def test_workers_are_shown(browser: Browser, brokers: Brokers) -> None:
    assert "No worker lives" in text_of(await browser.get("/workers"))
    async with working(brokers()):

        async def is_shown() -> bool:
            return "alive" in text_of(await browser.get("/workers"))

        await eventually(is_shown)


async def test_a_worker_that_died_is_shown_with_what_it_ran(
    browser: Browser, broker: StreamBroker, redis: Redis
) -> None:
    seconds, _ = await redis.time()
    said = {
        "worker": ODD,
        "beat": str(seconds * 1000),
        "info": json.dumps({"queues": ["default"], "host": "worker-7", "pid": 4711}),
        "running": json.dumps([{"entry": "1-0@x", "task": ODD, "id": "5f0c", "began": seconds * 1000}]),
    }
    await redis.zadd(broker.keys.lost_workers, {json.dumps(said): seconds * 1000})
    page = await browser.get("/workers")
    assert "Workers that died in the last seven days" in text_of(page)
    assert "worker-7" in text_of(page)
    assert '<a href="/runs/task?id=5f0c">' in page.text
    assert tags_of(page).count("script") == 1

    async def is_on_the_overview() -> bool:
        return "on worker-7, process 4711, died " in text_of(await browser.get("/"))

    await eventually(is_on_the_overview)


async def test_that_a_worker_died_is_no_fault_for_ever(browser: Browser, broker: StreamBroker, redis: Redis) -> None:
    seconds, _ = await redis.time()
    said = {"worker": "kiq-1", "beat": "1", "info": '{"host": "worker-7"}', "running": ""}
    await redis.zadd(broker.keys.lost_workers, {json.dumps(said): (seconds - 3700) * 1000})
    last = {"worker": "kiq-2", "beat": "1", "info": '{"host": "worker-8"}', "running": ""}
    await redis.zadd(broker.keys.lost_workers, {json.dumps(last): (seconds - 3500) * 1000})
    assert "worker-7" in text_of(await browser.get("/workers"))

    async def is_on_the_overview() -> bool:
        return "on worker-8, process 0, died 58 min ago; " in text_of(await browser.get("/"))

    await eventually(is_on_the_overview)


async def test_schedules_are_paused_resumed_and_run(browser: Browser, broker: StreamBroker) -> None:
    source = DurableScheduleSource(broker)
    await source.add_schedule(
        ScheduledTask(task_name="work", labels={}, args=[1], kwargs={}, schedule_id=ODD, cron="0 2 * * *")
    )
    page = await browser.get("/schedules")
    assert "0 2 * * * UTC" in text_of(page)
    assert "<script>x" not in page.text

    async def act(what: str) -> str:
        token = await browser.token("/queues/pause?name=default")
        path = f"/schedules/{what}"
        assert "It sends work 1" in text_of(await browser.client.get(path, params={"name": ODD}))
        answer = await browser.client.post(
            path, params={"name": ODD}, data={"token": token, "reason": "why"}, follow_redirects=True
        )
        assert answer.status_code == 200, answer.text
        return text_of(answer)

    assert "is paused for" in (paused := await act("pause"))
    assert ": why" in paused
    assert (await source.schedules.get(ODD)).is_paused
    assert "is due at" in await act("resume")
    assert "has sent its task" in await act("run")
    assert [kind for kind, *_ in await acts_of(broker)] == ["run-schedule", "resume-schedule", "pause-schedule"]
    assert "Waiting 1" in text_of(await browser.get("/"))


async def test_a_failed_run_is_found_and_read(browser: Browser, broker: StreamBroker, brokers: Brokers) -> None:
    worker = brokers()

    async def work(number: int) -> int:
        if (delivery := current_delivery.get()) is not None:
            delivery.lines = KeptLines(4096)
            delivery.lines.add(f"Paying {number} <script> token=swordfish-8\x1b[2J")
        if number < 0:
            raise ValueError(f"{ODD} password=swordfish-7")
        return number

    register_task(worker, work, name="work")
    task = broker.find_task("work")
    assert task is not None
    assert "No such run is kept" in text_of(await browser.get("/runs"))
    async with working(worker):
        good, bad = await task.kiq(1), await task.kiq(-1)
        for one in (good, bad):
            await one.wait_result(timeout=HANG)

        async def is_shown() -> bool:
            return f"{bad.task_id} work" in text_of(await browser.get("/runs?outcome=failed&text=script"))

        await eventually(is_shown)
    assert good.task_id not in (await browser.get("/runs?outcome=failed")).text
    assert good.task_id in (await browser.get("/runs?task=work&queue=default&since=1h")).text
    page = await browser.get(f"/runs/task?id={bad.task_id}")
    assert "Try 1: failed" in text_of(page)
    assert 'aria-label="Try 1 waited ' in page.text
    assert "ValueError: a" in text_of(page)
    assert r"Log Paying -1 <script> token=***" in text_of(page)
    assert "swordfish" not in page.text
    assert "\x1b" not in page.text
    assert tags_of(page).count("script") == 1
    assert "has ended" in text_of(await browser.submit(f"/runs/cancel?id={bad.task_id}"))
    assert await acts_of(broker) == []


async def test_how_far_a_running_task_is_is_shown(browser: Browser, broker: StreamBroker, brokers: Brokers) -> None:
    worker = brokers()
    goes_on = asyncio.Event()

    async def work(number: int) -> None:
        report_progress(number, 4, ODD)
        await goes_on.wait()

    register_task(worker, work, name="work")
    task = broker.find_task("work")
    assert task is not None
    async with working(worker):
        sent = await task.kiq(1)

        async def is_shown() -> bool:
            page = await browser.get(f"/runs/task?id={sent.task_id}")
            return page.status_code == 200 and "25 %, 1 of 4" in text_of(page)

        try:
            await eventually(is_shown)
            page = await browser.get(f"/runs/task?id={sent.task_id}")
            assert '<progress max="1" value="0.25" aria-label="Progress">' in page.text
            assert tags_of(page).count("script") == 1
            assert "Arguments 1 Queue default" in text_of(page)
            listed = await browser.get("/runs?state=running&argument=number%3D1")
            assert "1 running tasks" in text_of(listed)
            assert f'<a href="/runs/task?id={sent.task_id}">' in listed.text
            assert "25 %, 1 of 4" in text_of(listed)
            assert tags_of(listed).count("script") == 1
            overall = await browser.get("/workers")
            assert f'<a href="/runs/task?id={sent.task_id}">' in overall.text
            assert "25 %, 1 of 4" in text_of(overall)
            assert tags_of(overall).count("script") == 1
        finally:
            goes_on.set()
        await sent.wait_result(timeout=HANG)


async def test_a_task_that_waits_is_found_and_cancelled(browser: Browser, broker: StreamBroker) -> None:
    task = broker.find_task("work")
    assert task is not None
    sent = await task.kiq(1)
    page = await browser.get(f"/runs/task?id={sent.task_id}")
    assert "It waits in the queue default since" in text_of(page)
    assert "Task work Arguments 1 Queue default Schedule - Sent by - Sent 20" in text_of(page)
    assert f"/runs/cancel?id={sent.task_id}" in page.text
    said = text_of(await browser.submit(f"/runs/cancel?id={sent.task_id}", reason="why"))
    assert f"'{sent.task_id}' was waiting, and is cancelled" in said
    assert await acts_of(broker) == [("cancel-task", sent.task_id, "ada", "why")]
    page = await browser.get(f"/runs/task?id={sent.task_id}")
    assert re.search(
        r"No run of it is kept, and it waits nowhere\. Acts \S+ \S+ UTC: cancel-task by ada@\S+ \S+, waiting: why$",
        text_of(page),
    )


async def test_tasks_that_have_not_ended_are_listed_and_found(browser: Browser, broker: StreamBroker) -> None:
    task = broker.find_task("work")
    assert task is not None
    for state in ("waiting", "delayed", "running"):
        assert f"No such task is {state}." in text_of(await browser.get(f"/runs?state={state}"))
    sent = [await task.kiq(number) for number in range(103)]
    later = [await task.kicker().with_labels(delay=60 * number).kiq(number) for number in (2, 1)]
    assert '<a href="/runs?state=waiting&amp;queue=default"' in (await browser.get("/queues")).text
    page = await browser.get("/runs?state=waiting&queue=default")
    assert "100 waiting tasks" in text_of(page)
    assert "100 of 103 waiting tasks were looked at, those that wait longest" in text_of(page)
    assert page.text.index(sent[0].task_id) < page.text.index(sent[99].task_id)
    assert sent[100].task_id not in page.text
    assert "<option selected>waiting</option>" in page.text
    assert 'hx-trigger="every 3s"' in page.text
    page = await browser.get("/runs?state=waiting&argument=number%3D102")
    assert "1 waiting tasks" in text_of(page)
    assert sent[102].task_id in page.text
    assert "hx-trigger" not in page.text
    assert "No such task" in text_of(await browser.get("/runs?state=waiting&argument=number%3D%22102%22"))
    page = await browser.get("/runs?state=delayed&task=work")
    assert page.text.index(later[1].task_id) < page.text.index(later[0].task_id)
    assert later[1].task_id in (await browser.get(f"/runs?state=delayed&text={later[1].task_id}")).text


@pytest.mark.parametrize(
    "query", ["outcome=x", "since=x", "since=9d&outcome=%00", "state=x", "state=waiting&since=1h", "argument=x"]
)
async def test_a_search_that_makes_no_sense_is_a_line(browser: Browser, query: str) -> None:
    page = await browser.get(f"/runs?{query}")
    assert page.status_code == 409
    assert (await browser.get("/runs/task?id=none")).status_code == 409


async def test_dead_letters_are_shown_with_totals(browser: Browser, broker: StreamBroker, redis: Redis) -> None:
    letters = await bury(redis, broker, 3)
    await bury(redis, broker, 1, b"other")
    text = text_of(await browser.get("/dead"))
    assert "4 of 4 dead letters" in text
    assert "work retries-exhausted 3" in text
    filtered = text_of(await browser.get("/dead?task=other&reason=retries-exhausted&older_than="))
    assert "1 of 4 dead letters" in filtered
    assert "0 of 4 dead letters" in text_of(await browser.get("/dead?older_than=1d"))
    page = await browser.get(f"/dead/letter?id={letters[0]}")
    assert "ValueError: <b>-1</b> is below 0" in text_of(page)
    assert "b" not in tags_of(page)
    assert "swordfish-7" not in page.text
    by_task = await browser.get("/dead/letter?id=id-0")
    assert by_task.status_code == 200
    assert (await browser.get("/dead/letter?id=none")).status_code == 409


async def test_dead_letters_are_sent_again_and_dropped_as_many_as_were_named(
    browser: Browser, broker: StreamBroker, redis: Redis
) -> None:
    first, *_ = await bury(redis, broker, 3)
    await bury(redis, broker, 1, b"other")
    assert "1 dead letter is sent again" in text_of(await browser.submit(f"/dead/retry?id={first}"))
    asked = await browser.get("/dead/purge?task=work")
    assert "Drop 2 dead letters (all dead letters of 'work')?" in text_of(asked)
    # Those that come while somebody reads the question stay.
    newest = asked.text.partition('name="newest" value="')[2].partition('"')[0]
    await bury(redis, broker, 1)
    token = await browser.token("/dead/purge?task=work")
    page = await browser.client.post(
        "/dead/purge?task=work", data={"token": token, "newest": newest, "reason": "known"}, follow_redirects=True
    )
    assert "2 dead letters are dropped" in text_of(page)
    assert [one.task_name for one in await broker.dead_letters.list()] == ["work", "other"]
    assert (await acts_of(broker))[0] == ("purge-dead", "all dead letters of 'work'", "ada", "known")


async def test_a_letter_that_cannot_be_sent_again_stays(browser: Browser, broker: StreamBroker, redis: Redis) -> None:
    await redis.xadd(
        broker.keys.dead, {b"data": b"\xff\x1b", b"queue": b"\xff", b"reason": b"\xff", b"detail": b"\x1b"}
    )
    page = await browser.submit("/dead/retry")
    assert "0 dead letters are sent again; 1 is not" in text_of(page)
    assert await broker.dead_letters.count() == 1
    assert await acts_of(broker) == []


class Mailer:
    """A task that fails until it is mended."""

    def __init__(self) -> None:
        self.is_broken = True
        self.passwords: list[str] = []

    async def send(self, customer: int, password: str = "") -> str:
        self.passwords.append(password)
        if self.is_broken:
            raise LookupError(f"no address of {customer}")
        return f"sent to {customer}"


async def test_the_failed_run_of_one_customer_is_found_read_sent_again_and_seen_to_end(
    browser: Browser, broker: StreamBroker, brokers: Brokers
) -> None:
    worker, mailer = brokers(), Mailer()
    task = register_task(worker, mailer.send, name="mail.send")
    async with working(worker):
        sent = {number: await task.kiq(number, password="swordfish-7") for number in (4711, 4712)}
        for one in sent.values():
            await one.wait_result(timeout=HANG)
        mailer.is_broken = False
        task_id = sent[4711].task_id
        found = await browser.get("/runs?text=4711")
        assert found.text.count("/runs/task?id=") == found.text.count(f'"/runs/task?id={task_id}"') == 1
        page = await browser.get(f"/runs/task?id={task_id}")
        assert "LookupError: no address of 4711" in text_of(page)
        link = page.text.partition('href="/runs/retry')[2].partition('"')[0].replace("&amp;", "&")
        asked = await browser.get(f"/runs/retry{link}")
        assert f"Send the task '{task_id}' again?" in text_of(asked)
        assert "mail.send failed: LookupError: no address of 4711" in text_of(asked)
        async with browsing(broker) as viewing:
            await viewing.log_in(VIEWER)
            assert "/runs/retry" not in (await viewing.get(f"/runs/task?id={task_id}")).text
        page = await browser.submit(f"/runs/retry{link}", reason="the address is there")
        assert page.url.path == "/runs/task"
        assert f"The task '{task_id}' is sent again" in text_of(page)

        async def has_ended() -> bool:
            text = text_of(await browser.get(f"/runs/task?id={task_id}"))
            return "Try 1: succeeded" in text and "sent to 4711" in text and "Try 1: failed" in text

        await eventually(has_ended)
        # What ended well is not sent again.
        assert "/runs/retry" not in (await browser.get(f"/runs/task?id={task_id}")).text
        again = await browser.get(f"/runs/retry{link}")
        assert again.status_code == 409
        assert "its last run has not failed, but succeeded" in text_of(again)
    assert mailer.passwords == ["swordfish-7"] * 3
    assert await acts_of(broker) == [("retry-run", task_id, "ada", "the address is there")]


async def test_a_second_click_sends_nothing(browser: Browser, broker: StreamBroker, brokers: Brokers) -> None:
    worker, mailer = brokers(), Mailer()
    task = register_task(worker, mailer.send, name="mail.send")
    async with working(worker):
        sent = await task.kiq(4711)
        await sent.wait_result(timeout=HANG)
    path = f"/runs/retry?id={sent.task_id}"
    asked = await browser.get(path)
    run = asked.text.partition('name="run" value="')[2].partition('"')[0]
    form = {"token": await browser.token(path), "run": run}
    answers = [await browser.client.post(path, data=form, follow_redirects=True) for _ in range(2)]
    assert [one.status_code for one in answers] == [200, 409]
    assert "it has not ended: it waits in the queue 'default'" in text_of(answers[1])
    async with working(worker):
        await sent.wait_result(timeout=HANG)
    late = await browser.client.post(path, data=form, follow_redirects=True)
    assert "it has failed once more since you were asked" in text_of(late)
    assert len(mailer.passwords) == 2
    assert [kind for kind, *_ in await acts_of(broker)] == ["retry-run"]


async def test_as_many_failed_runs_are_sent_again_as_were_named(
    browser: Browser, broker: StreamBroker, brokers: Brokers
) -> None:
    worker, mailer = brokers(), Mailer()
    task = register_task(worker, mailer.send, name="mail.send")
    async with working(worker):
        for number in (4711, 4712):
            await (await task.kiq(customer=number)).wait_result(timeout=HANG)
        listed = await browser.get("/runs?state=failed&argument=customer%3D4711")
        assert "The newest 1 of these runs" in text_of(listed)
        assert 'href="/runs/retry?argument=customer%3D4711"' in listed.text
        asked = await browser.get("/runs/retry?argument=customer%3D4711")
        assert "Send 1 task again (all whose last run failed, with customer=4711)?" in text_of(asked)
        listed = await browser.get("/runs?outcome=failed&task=mail.send")
        assert 'href="/runs/retry?task=mail.send"' in listed.text
        asked = await browser.get("/runs/retry?task=mail.send")
        assert "Send 2 tasks again (all whose last run failed, of 'mail.send')?" in text_of(asked)
        until = asked.text.partition('name="until" value="')[2].partition('"')[0]
        # What fails while somebody reads the question stays.
        await (await task.kiq(4713)).wait_result(timeout=HANG)
    form = {"token": await browser.token("/runs/retry"), "reason": "known"}
    for value, count in (("", 0), ("x", 0), ("9999-99-99", 0), (until, 2), (until, 0)):
        page = await browser.client.post(
            "/runs/retry?task=mail.send", data={**form, "until": value}, follow_redirects=True
        )
        assert f"{count} tasks are sent again" in text_of(page)
    assert await acts_of(broker) == [("retry-run", "all whose last run failed, of 'mail.send'", "ada", "known")]


@pytest.mark.parametrize("newest", ["", "x", "9" * 5000 + "-0", "-", "1-\u0661"])
async def test_nothing_is_dropped_by_a_form_without_what_it_named(
    browser: Browser, broker: StreamBroker, redis: Redis, newest: str
) -> None:
    await bury(redis, broker, 1)
    token = await browser.token("/")
    await browser.client.post("/dead/purge", data={"token": token, "newest": newest})
    assert await broker.dead_letters.count() == 1


@pytest.mark.parametrize("key", ["dead", "workers", "delayed", "schedules", "acts", "paused", "worker_info", "queues"])
async def test_foreign_keys_are_a_line_and_no_traceback(
    browser: Browser, broker: StreamBroker, redis: Redis, key: str
) -> None:
    await redis.set(getattr(broker.keys, key), b"\xff\x1b[2J")
    for path in ("/", "/queues", "/workers", "/schedules", "/runs", "/dead", "/acts"):
        page = await browser.get(path)
        assert page.status_code in (200, 409, 503), (path, page.text)
        assert "This page failed" not in page.text
        assert "\x1b" not in page.text


async def test_whatever_lies_there_is_shown_harmlessly(browser: Browser, broker: StreamBroker, redis: Redis) -> None:
    odd = ODD.encode() + b"\xff"
    keys = broker.keys
    await redis.hset(keys.worker_info, odd, b'{"queues":["<b>"],"host":"<i>\\u001b","pid":1}')
    seconds, _ = await redis.time()
    await redis.zadd(keys.workers, {odd: seconds * 1000})
    await redis.hset(keys.stats_of_hour(seconds * 1000), odd + b"\nfailed", 3)
    await redis.hset(keys.paused, b"task:" + odd, b"{")
    await redis.hset(keys.paused, b"queue:" + odd, b'{"since":1e999,"user":"<b>","host":1,"reason":[]}')
    await redis.xadd(keys.acts, {b"act": odd, b"target": odd, b"user": b"\x1b"})
    await redis.xadd(
        keys.dead, {b"data": odd, b"queue": odd, b"reason": odd, b"detail": odd, b"deliveries": b"9" * 5000}
    )
    named = json.dumps({"task_id": ODD, "task_name": ODD, "labels": [], "args": {}, "kwargs": {ODD: ODD}})
    for data in (odd, named.encode()):
        await redis.xadd(keys.name, {b"data": data, b"first": odd, b"deliveries": b"9" * 5000})
        await redis.xadd(keys.returned("default"), {odd: data})
    await redis.xgroup_create(keys.name, broker.consumer_group_name, id="0")
    await redis.xreadgroup(broker.consumer_group_name, "<b>\x1b", {keys.name: ">"}, count=2)
    await redis.hset(keys.delayed_messages, odd, odd)
    await redis.zadd(keys.delayed, {odd: float("-inf"), ODD.encode(): float("inf")})
    states = [
        f"/runs?state={state}{more}" for state in ("waiting", "delayed", "running") for more in ("", "&queue=%ff")
    ]
    paths = ("/", "/queues", "/workers", "/schedules", "/runs", "/dead", "/acts", "/dead/letter?id=%00&id=%ff")
    for path in (*paths, *states, f"/runs/task?id={quote(ODD)}"):
        page = await browser.get(path)
        assert page.status_code in (200, 409), (path, page.text)
        assert tags_of(page).count("script") == 1
        assert not {"b", "i"} & set(tags_of(page))
        assert all(line.isprintable() for line in page.text.split("\n")), path


async def test_without_redis_there_is_a_page_that_comes_back(broker: StreamBroker, brokers: Brokers) -> None:
    away = brokers(url="redis://127.0.0.1:1/0", options=replace(broker.options, send_deadline=0.2))
    async with browsing(away) as browser:
        await browser.log_in()
        for path in ("/", "/queues", "/workers", "/schedules", "/runs", "/dead", "/acts"):
            page = await browser.get(path)
            assert page.status_code == 503
            assert "Redis cannot be used" in text_of(page)
            assert "127.0.0.1:1" in text_of(page)
            assert "; start it, or correct the address in REDIS_URL" in text_of(page)
            assert 'hx-trigger="every 3s"' in page.text
        answer = await browser.submit("/queues/pause?name=default")
        assert answer.status_code == 503


async def test_viewers_share_what_was_read(broker: StreamBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    # Other tests use the same Redis, whose own counts would be theirs too.
    reads = 0

    async def count(redis: AsyncCommands, keys: QueueKeys) -> Sequence[MinuteStats]:
        nonlocal reads
        reads += 1
        return await read_minutes(redis, keys)

    monkeypatch.setattr(overview, "read_minutes", count)
    async with browsing(broker) as browser:
        await browser.log_in(VIEWER)
        await browser.get("/")
        reads = 0
        await asyncio.gather(*(browser.get("/", **{"HX-Request": "true"}) for _ in range(20)))
    assert reads <= 1


async def test_a_page_loads_nothing_from_elsewhere_and_runs_nothing_within(browser: Browser) -> None:
    for path in ("/", "/queues", "/workers", "/schedules", "/runs", "/dead", "/acts", "/queues/pause?name=default"):
        page = (await browser.get(path)).text
        assert "://" not in page
        assert " style=" not in page
        assert "<style" not in page
        assert (
            " on" not in page.replace(" on ", " ").partition("<body")[2].replace(" one", "") or 'onclick="' not in page
        )
        assert page.count("<h1>") == 1
        assert page.count("<table") == page.count("<caption>")


async def test_a_page_that_fails_shows_nothing_of_it(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise KeyError("customer password=swordfish-7")

    monkeypatch.setattr("kiqstart.dashboard.pages.workers.read_workers", fail)
    page = await browser.get("/workers")
    assert page.status_code == 500
    assert "customer" not in page.text
    assert "KeyError" in caplog.text
    assert "swordfish" not in caplog.text


async def test_an_address_of_any_bytes_is_answered(browser: Browser) -> None:
    for path in ("/dead?%ff%d4=%ff", "/runs?text=%ff&%d4", "/queues/pause?name=default&%ff=1"):
        page = await browser.get(path)
        assert page.status_code == 200, page.text


async def test_a_letter_of_any_size_is_a_page_that_a_browser_can_show(
    browser: Browser, broker: StreamBroker, redis: Redis
) -> None:
    data = b'{"task_id":"large","task_name":"work","labels":{},"args":[' + b"[]," * 500_000 + b'1],"kwargs":{}}'
    fields = {b"data": data, b"queue": b"q" * 1_000_000, b"reason": b"malformed", b"detail": b"<b>" * 500_000}
    letter = str(await redis.xadd(broker.keys.dead, fields), "ascii")  # type: ignore[arg-type]  # as above
    pages = [await browser.get(path) for path in ("/dead", f"/dead/letter?id={letter}")]
    assert [page.status_code for page in pages] == [200, 200]
    assert max(len(page.content) for page in pages) < 3_000_000
    assert "more characters)" in pages[1].text
    assert "b" not in tags_of(pages[1])
