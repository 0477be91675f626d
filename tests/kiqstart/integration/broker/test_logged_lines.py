"""What a run has logged is kept with it, and with no other."""

import asyncio
import logging
from collections.abc import Callable, Generator

import pytest
import structlog
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, keeping_lines, working
from tests.kiqstart.integration.broker.test_sealing import ENCRYPTED, everything_of

from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.runs import read_runs
from kiqstart.tasks.registration import register_task

shop = logging.getLogger("shop")


@pytest.fixture(autouse=True)
def keeping() -> Generator[None]:
    with keeping_lines(400):
        yield


def without_times(log: str) -> list[str]:
    lines = [line.partition(" ")[2] if "Z " in line[:15] else line for line in log.split("\n")]
    return [line.partition(": Task again")[0] for line in lines]


async def test_each_run_keeps_its_own_lines(brokers: Brokers) -> None:
    broker = brokers()
    both = asyncio.Barrier(2)

    async def greet(name: str) -> None:
        shop.info("Hello, %s", name)
        await both.wait()
        shop.debug("of no interest")
        await asyncio.to_thread(shop.warning, "Good bye, %s", name, extra={"door": 7})

    def in_thread(name: str) -> None:
        shop.info("%s in a thread", name)

    tries = 0

    async def again() -> None:
        nonlocal tries
        tries += 1
        shop.info("try %d", tries)
        if tries == 1:
            raise LookupError

    async def quiet() -> None: ...

    async def long() -> None:
        for number in range(100):
            shop.info("line %d", number)

    in_loop, threaded = register_task(broker, greet, name="greet"), register_task(broker, in_thread, name="in_thread")
    others = [register_task(broker, one, name=one.__name__) for one in (quiet, long)]
    retried = register_task(broker, again, name="again", max_retries=1, retry_delay=0)
    async with working(broker):
        ada, grace, joan = await in_loop.kiq("Ada"), await in_loop.kiq("Grace"), await threaded.kiq("Joan")
        silent, lengthy, twice = await others[0].kiq(), await others[1].kiq(), await retried.kiq()
        for one in (ada, grace, joan, silent, lengthy, twice):
            await one.wait_result(timeout=HANG)
    shop.info("after all tasks")
    found = await read_runs(broker.connection.redis, broker.keys, RunFilter(), limit=10)
    logs = {(run.task_id, run.attempt): without_times(run.log) for run in found}
    assert logs == {
        (ada.task_id, 1): ["INFO shop: Hello, Ada", "WARNING shop: Good bye, Ada door=7"],
        (grace.task_id, 1): ["INFO shop: Hello, Grace", "WARNING shop: Good bye, Grace door=7"],
        (joan.task_id, 1): ["INFO shop: Joan in a thread"],
        (silent.task_id, 1): [""],
        (lengthy.task_id, 1): [
            "(88 earlier lines are not kept)",
            *(f"INFO shop: line {number}" for number in range(88, 100)),
        ],
        (twice.task_id, 1): ["INFO shop: try 1", "WARNING kiqstart.broker.retries"],
        (twice.task_id, 2): ["INFO shop: try 2"],
    }
    [by_text] = await read_runs(broker.connection.redis, broker.keys, RunFilter(text="hello, grace"), limit=10)
    assert by_text.task_id == grace.task_id


def _unprintable() -> None:
    class Odd:
        def __str__(self) -> str:
            raise LookupError("odd")

    shop.info("%s", Odd())
    shop.info("too many: %d", 1, 2)


def _structlog() -> None:
    structlog.get_logger("shop").info("Charged", order=7)


def _failing() -> None:
    try:
        __import__("no-such-module")
    except ImportError:
        shop.exception("Failed")


@pytest.mark.parametrize(
    ("log", "ends"),
    [
        (_unprintable, ""),
        (_structlog, "INFO shop: Charged order=7"),
        (_failing, "No module named 'no-such-module'"),
        (lambda: shop.info("redis://me:%s@host", "guess"), "INFO shop: redis://me:***@host"),
    ],
)
async def test_whatever_is_logged_the_run_ends_and_tells_no_secret(
    brokers: Brokers, log: Callable[[], None], ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    structlog.configure(
        processors=[structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    broker = brokers()

    async def write() -> int:
        log()
        return 7

    task = register_task(broker, write, name="write")
    try:
        async with working(broker):
            assert await (await task.kiq()).result(timeout=HANG) == 7
    finally:
        structlog.reset_defaults()
    [run] = await read_runs(broker.connection.redis, broker.keys, RunFilter(), limit=10)
    assert run.log.endswith(ends)
    assert "guess" not in run.log


async def test_encrypted_like_what_was_raised(brokers: Brokers) -> None:
    broker = brokers(sealing=ENCRYPTED)

    async def write() -> None:
        shop.info("ada@example.com")

    task = register_task(broker, write, name="write")
    async with working(broker):
        await (await task.kiq()).wait_result(timeout=HANG)
    assert b"ada@example.com" not in await everything_of(broker)
    for secrets, log in ((broker.secrets, ["INFO shop: ada@example.com"]), (brokers().secrets, ["encrypted"])):
        [run] = await read_runs(broker.connection.redis, broker.keys, RunFilter(), limit=10, secrets=secrets)
        assert without_times(run.log) == log
