"""A pytest plugin that puts kiqstart's receiver and one of its brokers in the place of taskiq's.

It is given to a run of the tests that taskiq publishes. It is loaded before their modules and stands alone, since their
package is named `tests` as well.
"""

import sys
from collections.abc import Callable, Generator
from typing import Any, ClassVar, Final

import pytest
from taskiq import AckableMessage, InMemoryBroker, TaskiqMessage, TaskiqResult
from taskiq.acks import AckController
from taskiq.api import run_receiver_task
from taskiq.receiver import Receiver

from kiqstart.infrastructure.taskiq.in_memory import DelayingInMemoryBroker
from kiqstart.infrastructure.taskiq.streams.receiver import StreamReceiver


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


_BROKERS: Final = {"taskiq": InMemoryBroker, "delaying": DelayingInMemoryBroker}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the run say which broker takes the place of taskiq's in-memory one."""
    parser.addoption("--broker", choices=sorted(_BROKERS), default="taskiq")


def pytest_configure(config: pytest.Config) -> None:
    """Replace the names in all modules of taskiq, before its tests import them."""
    _replace(Receiver, CountingReceiver)
    _replace(InMemoryBroker, _BROKERS[str(config.getoption("--broker"))])
    defaults = run_receiver_task.__defaults__ or ()
    run_receiver_task.__defaults__ = tuple(CountingReceiver if value is Receiver else value for value in defaults)


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
