import gc
import weakref
from typing import cast

import pytest
from taskiq import InMemoryBroker, TaskiqMessage, TaskiqMiddleware

from kiqstart import register_task
from kiqstart.tasks.hooks import hooks_of


class Noting(TaskiqMiddleware):
    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        return message


def test_a_middleware_that_is_added_later_is_heard_too() -> None:
    broker = InMemoryBroker()
    assert not hooks_of(broker).pre_send
    broker.add_middlewares(noting := Noting())
    assert hooks_of(broker).pre_send == [noting.pre_send]
    assert hooks_of(broker) is hooks_of(broker)


def test_a_broker_that_nobody_uses_any_more_is_let_go() -> None:
    broker = InMemoryBroker().with_middlewares(Noting())
    hooks_of(broker)
    reference = weakref.ref(broker)
    del broker
    gc.collect()
    assert reference() is None


async def test_a_hook_that_gives_no_message_fails_the_send_by_its_name() -> None:
    class Forgetful(TaskiqMiddleware):
        def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:  # noqa: ARG002
            return cast("TaskiqMessage", None)

    async def work() -> None: ...

    task = register_task(InMemoryBroker().with_middlewares(Forgetful()), work, name="work")
    with pytest.raises(TypeError, match=r"Forgetful\.pre_send has to return a message, not None"):
        await task.kiq()
