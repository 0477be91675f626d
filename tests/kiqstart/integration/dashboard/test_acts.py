"""What is done on the dashboard beside what tests/…/test_pages.py has: tasks sent, calls paused, schedules removed."""

import re
from collections.abc import AsyncGenerator
from enum import StrEnum
from html import unescape
from typing import Any, Literal

import httpx
import pytest
import pytest_asyncio
from pydantic import BaseModel
from redis.asyncio import Redis
from taskiq import ScheduledTask
from tests.kiqstart.integration.broker.brokers import Brokers, working
from tests.kiqstart.integration.dashboard.browser import VIEWER, Browser, browsing, text_of

from kiqstart.broker.acts import Acts, Operator, RecordedAct
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.pauses import Pausable
from kiqstart.operations.pausing import pauses_of
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually

BY = Operator(user="bob", host="phone")
SECRET = "swordfish-7"


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Address(BaseModel):
    city: str


class Shop:
    """A task with arguments of all kinds; what it was called with is in `calls`."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    async def order(
        self,
        customer: int,
        note: str = "none",
        is_gift: bool = False,
        size: Size = Size.SMALL,
        way: Literal["air", "sea"] = "sea",
        address: Address | None = None,
        password: str = "",
    ) -> int:
        self.calls.append(locals() | {"self": None})
        return customer


@pytest.fixture
def shop(broker: StreamBroker) -> Shop:
    made = Shop()
    register_task(broker, made.order, name="shop.order")
    return made


@pytest_asyncio.fixture
async def browser(broker: StreamBroker, shop: Shop) -> AsyncGenerator[Browser]:  # noqa: ARG001  # its task is to be there
    async with browsing(broker) as opened:
        await opened.log_in()
        yield opened


async def acts_of(broker: StreamBroker) -> list[RecordedAct]:
    return list(await Acts(broker.connection.redis, broker.keys).newest(10))


async def waiting(broker: StreamBroker) -> int:
    return int(await broker.connection.redis.xlen(broker.keys.name))


async def press(browser: Browser, page: httpx.Response, step: str, **typed: str) -> httpx.Response:
    """Fill in the form of a page, and press the button of a step."""
    action = unescape(re.findall(r'<form method="post" action="([^"]*)" class="stack"', page.text)[0])
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text.partition("<main")[2])
    hidden = {name: unescape(value) for name, value in found}
    return await browser.client.post(action, data={**hidden, "step": step, **typed}, follow_redirects=True)


RUN = "/tasks/run?name=shop.order"


async def test_a_task_is_sent_with_arguments_and_seen_to_end(
    browser: Browser, broker: StreamBroker, brokers: Brokers, shop: Shop
) -> None:
    listed = await browser.get("/tasks")
    assert f'href="{RUN}"' in listed.text
    assert "customer: int" in text_of(listed)
    form = await browser.get(RUN)
    typed = {
        "argument_customer": "7",
        "argument_note": 'a "b" <c>\u202e ü',
        "argument_is_gift": "true",
        "argument_size": "large",
        "argument_address": '{"city":\r\n"Oslo"}',
    }
    asked = await press(browser, form, "ask", **typed)
    assert asked.status_code == 200
    assert "It sends shop.order(customer=7, note='a \"b\" <c>\\u202e ü', is_gift=True, size=" in text_of(asked)
    assert "to the queue default" in text_of(asked)
    assert "No worker takes the queue 'default'" in text_of(asked)
    assert await waiting(broker) == 0
    sent = await press(browser, asked, "send", argument_password=SECRET, reason="by phone")
    task_id = sent.url.params["id"]
    assert sent.url.path == "/runs/task"
    assert f"The task 'shop.order' is sent with the id {task_id}" in text_of(sent)
    assert "It waits in the queue default" in text_of(sent)
    worker = brokers()
    register_task(worker, shop.order, name="shop.order")
    async with working(worker):
        await broker.result_backend.is_result_ready(task_id)
        from kiqstart.testing import eventually

        async def has_ended() -> bool:
            return "Try 1: succeeded" in text_of(await browser.get(f"/runs/task?id={task_id}"))

        await eventually(has_ended)
    (call,) = shop.calls
    assert call["note"] == typed["argument_note"]
    assert (call["customer"], call["is_gift"], call["size"], call["way"]) == (7, True, Size.LARGE, "sea")
    assert (call["address"], call["password"]) == (Address(city="Oslo"), SECRET)
    (act,) = await acts_of(broker)
    assert (act.kind, act.target, act.by.user, act.reason) == ("run-task", "shop.order", "ada", "by phone")
    assert act.detail.startswith(f"{task_id} customer=7 note=")
    assert SECRET not in act.detail


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"customer": ""}, "the following arguments are required: --customer"),
        ({"customer": "x"}, "--customer 'x': Input should be a valid integer, unable to parse string as an integer"),
        ({"size": "huge"}, "--size 'huge': Input should be 'small' or 'large'"),
        ({"address": '{"city": 7}'}, "city: Input should be a valid string"),
    ],
)
async def test_a_value_that_the_task_does_not_take_is_a_line_beside_its_field(
    browser: Browser, broker: StreamBroker, typed: dict[str, str], said: str
) -> None:
    fields = {"argument_customer": "7", "argument_note": "kept"} | {
        f"argument_{name}": one for name, one in typed.items()
    }
    for step in ("ask", "send"):
        page = await press(browser, await browser.get(RUN), step, **fields)
        assert page.status_code == 422
        (name,) = typed
        problem = re.findall(rf'<p class="error" id="argument_{name}-problem">(.*?)</p>', page.text)
        assert [said in unescape(one) for one in problem] == [True]
        assert f'aria-describedby="argument_{name}-hint argument_{name}-problem"' in page.text
        assert 'value="kept"' in page.text
    assert await waiting(broker) == 0
    assert await acts_of(broker) == []


async def test_a_secret_is_typed_with_the_question_and_stands_in_no_page(
    browser: Browser, broker: StreamBroker, brokers: Brokers
) -> None:
    called: list[tuple[str, object]] = []

    async def log_in(password: str, headers: dict[str, str], pin_token: int = 0) -> None:
        del pin_token
        called.append((password, headers))

    for one in (broker, worker := brokers()):
        register_task(one, log_in, name="shop.log_in")
    form = await browser.get(f"/tasks/run?name=shop.log_in&argument_password={SECRET}")
    assert 'name="argument_password"' not in form.text
    assert SECRET not in form.text
    headers = '{"api_key": "swordfish-8"}'
    asked = await press(browser, form, "ask", argument_headers=headers)
    assert "shop.log_in(password=***, headers=***)" in text_of(asked)
    pages = [asked]
    for name in ("password", "headers"):
        assert f'<input type="password" autocomplete="off" id="argument_{name}"' in asked.text
        # One that is asked for with the question is not left out by mistake.
        others = {"argument_password": SECRET, "argument_headers": headers}
        del others[f"argument_{name}"]
        pages.append(await press(browser, asked, "send", **others))
        assert pages[-1].status_code == 422
        assert f"the following arguments are required: --{name}" in text_of(pages[-1])
    typed = {"argument_password": SECRET, "argument_headers": headers}
    pages.append(await press(browser, asked, "send", argument_pin_token=SECRET, **typed))
    assert "--pin-token ***: Input should be a valid integer" in text_of(pages[-1])
    pages.append(await press(browser, asked, "edit", **typed))
    assert await waiting(broker) == 0
    pages.append(await press(browser, asked, "send", **typed))
    async with working(worker):
        await eventually(lambda: _is_done(called))
    assert called == [(SECRET, {"api_key": "swordfish-8"})]
    pages += [await browser.get(path) for path in ("/acts", str(pages[-1].url))]
    for page in pages:
        assert "swordfish" not in page.text
        assert "swordfish" not in str(page.url)


async def _is_done(called: list[Any]) -> bool:
    return bool(called)


async def test_what_was_typed_can_be_changed_after_the_question(browser: Browser) -> None:
    asked = await press(browser, await browser.get(RUN), "ask", argument_customer="7", argument_note="a & b")
    form = await press(browser, asked, "edit")
    assert 'id="argument_note" name="argument_note"' in form.text
    assert 'value="a &amp; b"' in form.text
    assert "customer=8, note='a & b'" in text_of(
        await press(browser, form, "ask", argument_customer="8", argument_note="a & b")
    )


async def test_many_values_and_spelt_out_options_are_sent(
    browser: Browser, broker: StreamBroker, brokers: Brokers
) -> None:
    called: list[object] = []

    async def add(*numbers: int, **weights: float) -> None:
        called.append((numbers, weights))

    async def ping() -> None:
        called.append("ping")

    for one in (broker, worker := brokers()):
        register_task(one, add, name="add")
        register_task(one, ping, name="ping")
    form = await browser.get("/tasks/run?name=add")
    typed = {"argument_numbers": "1\r\n2", "argument_weights": '{"a": 0.5}'}
    await press(browser, await press(browser, form, "ask", **typed), "send")
    form = await browser.get("/tasks/run?name=ping")
    assert "It takes no arguments" in text_of(form)
    await press(browser, await press(browser, form, "ask"), "send")
    async with working(worker):

        async def are_done() -> bool:
            return len(called) == 2

        await eventually(are_done)
    assert sorted(called, key=str) == [((1, 2), {"a": 0.5}), "ping"]


async def test_what_a_call_would_wait_for_is_said_before_it_is_sent(browser: Browser, broker: StreamBroker) -> None:
    pauses = pauses_of(broker)
    await pauses.pause(Pausable.TASK, "shop.order", by=BY, reason="no stock", where={"customer": "7"})
    asked = await press(browser, await browser.get(RUN), "ask", argument_customer="8")
    assert "It waits until" not in text_of(asked)
    asked = await press(browser, await browser.get(RUN), "ask", argument_customer="7")
    assert re.search(
        r"It waits until it is resumed: the task 'shop.order' where customer=7 .*: no stock", text_of(asked)
    )
    await pauses.pause(Pausable.QUEUE, "default", by=BY, reason="the database moves")
    asked = await press(browser, await browser.get(RUN), "ask", argument_customer="8")
    assert re.search(r"resumed: the queue 'default' is paused .*: the database moves", text_of(asked))


@pytest.mark.parametrize("path", ["/tasks/run?name=shop.ordr", "/tasks/run?name=shop.order&argument_none=1"])
async def test_a_task_or_an_argument_that_is_not_there_is_a_line(browser: Browser, path: str) -> None:
    page = await browser.get(path)
    assert page.status_code == 409
    said = text_of(page)
    assert "did you mean 'shop.order'?" in said or "shop.order takes no argument 'none'" in said


@pytest.mark.parametrize("path", [RUN, "/tasks/pause-calls?name=shop.order", "/schedules/remove?name=x"])
async def test_who_may_only_look_acts_on_none_of_it(broker: StreamBroker, shop: Shop, path: str) -> None:
    del shop
    async with browsing(broker) as browser:
        await browser.log_in(VIEWER)
        assert "/tasks/run" not in (await browser.get("/tasks")).text
        token = await browser.token("/")
        typed = {"token": token, "step": "send", "argument_customer": "7", "where": "customer=7"}
        assert [(await browser.get(path)).status_code, (await browser.client.post(path, data=typed)).status_code] == [
            403,
            403,
        ]
    assert await waiting(broker) == 0


@pytest.mark.parametrize("path", [RUN, "/tasks/pause-calls?name=shop.order", "/schedules/remove?name=x"])
async def test_a_form_of_another_session_does_nothing(browser: Browser, broker: StreamBroker, path: str) -> None:
    typed = {"token": "0" * 64, "step": "send", "argument_customer": "7", "where": "customer=7"}
    assert (await browser.client.post(path, data=typed)).status_code == 403
    assert await waiting(broker) == 0
    assert await pauses_of(broker).all() == []


async def test_calls_with_an_arguments_value_are_paused_and_resumed(browser: Browser, broker: StreamBroker) -> None:
    task = broker.find_task("shop.order")
    assert task is not None
    for customer in (7, 7, 8):
        await task.kiq(customer)
    path = "/tasks/pause-calls?name=shop.order"
    assert f'href="{path}"' in (await browser.get("/tasks")).text
    asked = await press(browser, await browser.get(path), "", where="customer = 07\r\n")
    assert "Pause the task 'shop.order' where customer=7?" in text_of(asked)
    assert "2 tasks of it wait." in text_of(asked)
    done = await press(browser, asked, "", reason="no stock")
    assert done.url.path == "/tasks"
    assert re.search(r"the task 'shop.order' where customer=7 is paused for .*, by ada@.*: no stock", text_of(done))
    assert "some calls paused" in text_of(done)
    (pause,) = await pauses_of(broker).all()
    assert (pause.name, pause.where) == ("shop.order", {"customer": "7"})
    link = unescape(re.findall(r'href="(/tasks/resume[^"]*)"', done.text)[0])
    assert "is resumed" in text_of(await browser.submit(link))
    assert await pauses_of(broker).all() == []
    acts = [(one.kind, one.target, one.detail, one.reason) for one in await acts_of(broker)]
    assert acts == [
        ("resume-task", "shop.order", "customer=7", ""),
        ("pause-task", "shop.order", "customer=7", "no stock"),
    ]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("", "write an argument and its value, such as customer=7"),
        ("customer", "--where 'customer': write an argument and its value, such as customer=7"),
        ("customer=x", "--customer 'x': Input should be a valid integer"),
        ("colour=red", "the task takes no argument 'colour'"),
        (f"password={SECRET}", "'password' is a secret, and in no address"),
    ],
)
async def test_calls_that_cannot_be_meant_are_a_line(
    browser: Browser, broker: StreamBroker, where: str, said: str
) -> None:
    page = await press(browser, await browser.get("/tasks/pause-calls?name=shop.order"), "", where=where)
    assert page.status_code == 422
    assert said in unescape(page.text.partition('id="where-problem"')[2].partition("</p>")[0])
    assert SECRET not in page.text
    assert await pauses_of(broker).all() == []


async def test_a_pause_says_how_many_wait(browser: Browser, broker: StreamBroker) -> None:
    task = broker.find_task("shop.order")
    assert task is not None
    await task.kiq(7)
    assert "1 task of it waits." in text_of(await browser.get("/queues/pause?name=default"))
    assert "1 task of it waits." in text_of(await browser.get("/tasks/pause?name=shop.order"))
    unknown = text_of(await browser.get("/queues/pause?name=later"))
    assert "0 tasks of it wait." in unknown
    assert "No queue 'later' is known; should there be one, it is paused." in unknown


async def test_schedules_that_were_added_are_removed(browser: Browser, broker: StreamBroker, redis: Redis) -> None:
    source = DurableScheduleSource(broker)
    for name in ("nightly", "broken"):
        await source.add_schedule(
            ScheduledTask(task_name="shop.order", labels={}, args=[7], kwargs={}, schedule_id=name, cron="0 2 * * *")
        )
    await redis.hset(broker.keys.schedules, "broken", b"{")
    listed = await browser.get("/schedules")
    for name, note in (("nightly", "It sends shop.order 7, 0 2 * * * UTC."), ("broken", "It cannot be read.")):
        path = f"/schedules/remove?name={name}"
        assert f'href="{path}"' in listed.text
        assert note in text_of(await browser.get(path))
        assert f"The schedule '{name}' is removed" in text_of(await browser.submit(path, reason="not needed"))
        assert (await browser.get(path)).status_code == 409
    assert "There are no schedules" in text_of(await browser.get("/schedules"))
    acts = [(one.kind, one.target, one.reason) for one in await acts_of(broker)]
    assert acts == [("remove-schedule", "broken", "not needed"), ("remove-schedule", "nightly", "not needed")]


async def test_what_a_page_has_no_line_of_is_reached_by_its_name(browser: Browser, broker: StreamBroker) -> None:
    def actions(page: httpx.Response) -> list[str]:
        form = page.text.partition('<form method="get"')[2].partition("</form>")[0]
        return re.findall(r'<button formaction="([^"]*)"', form)

    assert actions(await browser.get("/queues")) == ["/queues/pause"]
    assert actions(await browser.get("/tasks")) == ["/tasks/pause", "/tasks/pause-calls"]
    source = DurableScheduleSource(broker)
    nightly = ScheduledTask(task_name="shop.order", labels={}, args=[7], kwargs={}, cron="0 2 * * *")
    for number in range(100):
        await source.add_schedule(nightly.model_copy(update={"schedule_id": f"s{number}"}))
    assert actions(await browser.get("/schedules")) == []
    await source.add_schedule(nightly.model_copy(update={"schedule_id": "last"}))

    async def is_there() -> bool:
        found = actions(await browser.get("/schedules"))
        return found == [f"/schedules/{what}" for what in ("pause", "resume", "run", "remove")]

    await eventually(is_there)
