"""A pytest plugin that puts kiqstart's receiver and one of its brokers in the place of taskiq's.

It is given to a run of the tests that taskiq publishes. It is loaded before their modules and stands alone, since their
package is named `tests` as well.
"""

import asyncio
import inspect
import os
import sys
from collections.abc import Callable, Coroutine, Generator
from functools import partial, wraps
from typing import Any, ClassVar, Final, ParamSpec, TypeVar
from uuid import uuid4

import pytest
from taskiq import AckableMessage, BrokerMessage, InMemoryBroker, TaskiqMessage, TaskiqResult
from taskiq.acks import AckController
from taskiq.api import run_receiver_task
from taskiq.receiver import Receiver

from kiqstart.broker import consumer_parts
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.in_memory import DelayingInMemoryBroker
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.receiver.stream_receiver import StreamReceiver

P = ParamSpec("P")
R = TypeVar("R")


class CountingReceiver(StreamReceiver):
    """Counts how often it is called, by a broker or by a test."""

    calls: ClassVar[int] = 0

    async def callback(self, message: bytes | AckableMessage, raise_err: bool = False) -> None:
        """Take a message."""
        CountingReceiver.calls += 1
        await super().callback(message, raise_err)

    async def run_task(
        self, target: Callable[..., Any], message: TaskiqMessage, ack_controller: AckController | None = None
    ) -> TaskiqResult[Any]:
        """Run a task."""
        CountingReceiver.calls += 1
        return await super().run_task(target, message, ack_controller)


class RedisStandIn(StreamBroker):
    """Takes the arguments of taskiq's in-memory broker; what is sent goes through Redis to a worker here."""

    at_work: ClassVar[set["RedisStandIn"]] = set()

    def __init__(self, *, await_inplace: bool = False) -> None:
        queue = f"{{{os.environ['KEY_PREFIX']}-{uuid4().hex}}}:tasks"
        super().__init__(os.environ["REDIS_URL"], queue, options=StreamOptions(lease=1.0))
        self._await_inplace = await_inplace
        self._running_tasks: Final = frozenset[object]()  # a few tests look whether taskiq's broker has forgotten them
        self._sent: list[str] = []
        self._worker: asyncio.Task[None] | None = None
        self._finish = asyncio.Event()

    async def kick(self, message: BrokerMessage) -> None:
        """Send a message; the first one of an event loop starts the worker."""
        if self._worker is None:
            receiver = CountingReceiver(self, max_async_tasks=30, run_startup=False, wait_tasks_timeout=1)
            self._finish.clear()
            self._worker = asyncio.create_task(receiver.listen(self._finish))
            self.at_work.add(self)
        await super().kick(message)
        self._sent.append(message.task_id)
        if self._await_inplace:
            await self.wait_all()

    async def wait_all(self) -> None:
        """Wait for the results of all that was sent."""
        while self._sent:
            await self.connection.waiter.wait(self._sent.pop(), 10)

    async def end(self) -> None:
        """Stop the worker."""
        if self._worker is not None:
            self._finish.set()
            await self._worker
            self._worker = None
            await self.shutdown()


_BROKERS: Final = {"taskiq": InMemoryBroker, "delaying": DelayingInMemoryBroker, "redis": RedisStandIn}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the run say which broker takes the place of taskiq's in-memory one."""
    parser.addoption("--broker", choices=sorted(_BROKERS), default="taskiq")


def pytest_configure(config: pytest.Config) -> None:
    """Replace the names in all modules of taskiq, before its tests import them."""
    consumer_parts.WAIT_SECONDS = 0.05  # type: ignore[misc]  # a worker ends when its read does
    _replace(Receiver, CountingReceiver)
    _replace(InMemoryBroker, _BROKERS[str(config.getoption("--broker"))])
    defaults = run_receiver_task.__defaults__ or ()
    run_receiver_task.__defaults__ = tuple(CountingReceiver if value is Receiver else value for value in defaults)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let workers end before their event loop does; it would cancel all that it has at once."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.obj = _ending_workers(item.obj)


@pytest.fixture(autouse=True)
def _workers_end(monkeypatch: pytest.MonkeyPatch) -> None:
    # For tests that are no coroutines.
    monkeypatch.setattr(asyncio, "run", partial(_run, asyncio.run))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Put down whether the receiver had part in a test."""
    before = CountingReceiver.calls
    try:
        return (yield)
    finally:
        if CountingReceiver.calls > before:
            item.user_properties.append(("received", CountingReceiver.calls - before))


def _replace(old: type, new: type) -> None:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "taskiq":
            for attribute, value in list(vars(module).items()):
                if value is old:
                    setattr(module, attribute, new)


def _run(run: Callable[[Coroutine[Any, Any, R]], R], main: Coroutine[Any, Any, R]) -> R:
    return run(_ending_workers(lambda: main)())


def _ending_workers(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    @wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await function(*args, **kwargs)
        finally:
            while RedisStandIn.at_work:
                await RedisStandIn.at_work.pop().end()

    return call
