"""What is logged of runs, with a worker in the test's own process."""

import asyncio
import logging
from collections.abc import Callable, Generator

import pytest
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import working

from kiqstart import TaskLogFilter, TaskLogMiddleware, UniquenessMiddleware
from kiqstart.broker import RetryMiddleware
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.in_memory import DelayingInMemoryBroker
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually

shop = logging.getLogger("shop")
RESOLVED = "Function for task any is resolved. Executing..."


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.addFilter(TaskLogFilter())

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of(self, name: str) -> list[logging.LogRecord]:
        return [one for one in self.records if one.name == name]

    async def ends(self, count: int) -> list[logging.LogRecord]:
        """Wait for the lines of runs that have ended."""

        def found() -> list[logging.LogRecord]:
            return [one for one in self.of("kiqstart.runs") if hasattr(one, "outcome")]

        async def are_there() -> bool:
            return len(found()) >= count

        await eventually(are_there)
        assert len(found()) == count
        return found()


@pytest.fixture
def lines() -> Generator[Lines]:
    root, taskiq, handler = logging.getLogger(), logging.getLogger("taskiq"), Lines()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    taskiq.setLevel(logging.NOTSET)
    yield handler
    root.removeHandler(handler)


def fields(record: logging.LogRecord, *names: str) -> dict[str, object]:
    return {name: vars(record)[name] for name in names if name in vars(record)}


async def test_a_run_has_a_line_for_its_start_and_one_for_its_end(broker: StreamBroker, lines: Lines) -> None:
    async def greet(name: str) -> str:
        shop.info("Hello, %s", name, extra={"task_id": "of its own", "colour": "red"})
        return name

    task = register_task(broker, greet, name="greet")
    async with working(broker):
        sent = await task.kiq("Ada")
        await sent.result(timeout=HANG)
        [end] = await lines.ends(1)
    [start, _] = lines.of("kiqstart.runs")
    assert (start.levelname, end.levelname) == ("DEBUG", "INFO")
    assert end.getMessage().startswith("Task greet succeeded in 0.")
    assert end.getMessage().endswith(f"s (id {sent.task_id})")
    expected = {"task_name": "greet", "task_id": sent.task_id, "try": 1, "queue": "default", "outcome": "succeeded"}
    assert fields(end, *expected, "schedule", "trace_id") == expected
    assert fields(start, "task_name", "task_id", "try", "queue").items() <= expected.items()
    assert 0 <= vars(end)["seconds"] < 60
    assert vars(end)["worker"].startswith("kiq-")
    [own] = lines.of("shop")
    assert fields(own, "task_name", "task_id", "colour") == {
        "task_name": "greet",
        "task_id": "of its own",
        "colour": "red",
    }
    assert not [one for one in lines.records if "Executing task" in one.getMessage()]


async def test_a_failed_try_is_one_error_with_its_traceback(broker: StreamBroker, lines: Lines) -> None:
    async def fail() -> None:
        raise OSError("no luck")

    task = register_task(broker, fail, name="fail", max_retries=1, retry_delay=0)
    async with working(broker):
        sent = await task.kiq()
        assert isinstance((await sent.wait_result(timeout=HANG)).error, OSError)
        first, second = await lines.ends(2)
    assert [fields(one, "outcome", "try") for one in (first, second)] == [
        {"outcome": "retried", "try": 1},
        {"outcome": "dead", "try": 2},
    ]
    assert {one.levelname for one in (first, second)} == {"ERROR"}
    with_traceback = [one for one in lines.records if one.exc_info and one.exc_info[0]]
    assert with_traceback == [first, second]


def of_sync(number: int) -> int:
    shop.info("in a thread")
    return number


async def test_a_function_in_a_thread_logs_for_its_task_too(broker: StreamBroker, lines: Lines) -> None:
    task = register_task(broker, of_sync, name="of_sync")
    async with working(broker):
        await (await task.kiq(1)).result(timeout=HANG)
        await lines.ends(1)
    [own] = lines.of("shop")
    assert vars(own)["task_name"] == "of_sync"


async def test_arguments_that_do_not_fit_and_a_cancelled_run_need_no_traceback(
    broker: StreamBroker, lines: Lines
) -> None:
    begun = asyncio.Event()

    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = register_task(broker, endless, name="endless")
    async with working(broker):
        sent = await task.kiq()
        await begun.wait()
        await broker.cancel(sent.task_id)
        [end] = await lines.ends(1)
    assert (end.levelname, vars(end)["outcome"], end.exc_info) == ("INFO", "cancelled", None)
    assert "Task endless was cancelled in" in end.getMessage()


@pytest.mark.parametrize("is_silent", [True, False])
async def test_the_lines_of_runs_can_be_turned_off_by_their_name(
    broker: StreamBroker, lines: Lines, is_silent: bool
) -> None:
    async def greet() -> None:
        shop.info("Hello")

    task = register_task(broker, greet, name="greet")
    runs = logging.getLogger("kiqstart.runs")
    runs.setLevel(logging.WARNING if is_silent else logging.NOTSET)
    try:
        async with working(broker):
            await (await task.kiq()).result(timeout=HANG)
    finally:
        runs.setLevel(logging.NOTSET)
    assert len(lines.of("kiqstart.runs")) == (0 if is_silent else 2)
    assert len(lines.of("shop")) == 1


async def in_place(function: Callable[..., object], **options: int) -> DelayingInMemoryBroker:
    broker = DelayingInMemoryBroker(await_inplace=True, delays=False)
    broker.add_middlewares(TaskLogMiddleware(), UniquenessMiddleware(), RetryMiddleware(broker))
    register_task(broker, function, name="any", **options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # two options of many
    await broker.find_task("any").kiq()  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]  # registered
    return broker


async def test_other_brokers_have_the_same_lines_by_a_middleware_and_taskiqs_own_no_more(lines: Lines) -> None:
    async def fail() -> None:
        shop.info("about to")
        raise OSError("no luck")

    await in_place(fail, max_retries=1, retry_delay=0)
    shop.info("after")
    first, second = sorted(await lines.ends(2), key=lambda one: int(vars(one)["try"]))
    assert [vars(one)["outcome"] for one in (first, second)] == ["retried", "failed"]
    assert [vars(one).get("task_name") for one in lines.of("shop")] == ["any", "any", None]
    assert [one.getMessage() for one in lines.of("taskiq.receiver.receiver")] == [RESOLVED, RESOLVED]
    assert {one for one in lines.records if one.exc_info and one.exc_info[0]} == {first, second}
