import importlib.machinery
import sys
from types import ModuleType, SimpleNamespace

import pytest

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.quarantine.ward_orders import WardOrders, find_place, orders_for

URL = "redis://localhost:1"


@pytest.fixture
def broker() -> StreamBroker:
    return StreamBroker(URL, queue_name="orders")


def module(monkeypatch: pytest.MonkeyPatch, name: str, **names: object) -> ModuleType:
    """Put a module among those that are imported."""
    made = ModuleType(name)
    vars(made).update(names)
    monkeypatch.setitem(sys.modules, name, made)
    return made


def test_a_broker_is_found_in_the_module_whose_import_began_first(
    monkeypatch: pytest.MonkeyPatch, broker: StreamBroker
) -> None:
    module(monkeypatch, "some_service.entry_point", queue=broker)
    module(monkeypatch, "x", broker=broker)
    assert find_place(broker) == "some_service.entry_point:queue"


def test_a_broker_is_found_in_an_object_of_a_module(monkeypatch: pytest.MonkeyPatch, broker: StreamBroker) -> None:
    module(monkeypatch, "some_service", container=SimpleNamespace(broker=broker))
    assert find_place(broker) == "some_service:container.broker"


def test_a_broker_of_a_program_is_found_where_the_program_can_be_imported(
    monkeypatch: pytest.MonkeyPatch, broker: StreamBroker
) -> None:
    program = module(monkeypatch, "__main__", broker=broker)
    assert find_place(broker) is None
    program.__spec__ = importlib.machinery.ModuleSpec("some_service.program", loader=None)
    assert find_place(broker) == "some_service.program:broker"


def test_a_broker_that_no_module_holds_is_nowhere(broker: StreamBroker) -> None:
    assert find_place(broker) is None
    assert orders_for(broker) is None


def test_orders_name_all_tasks_and_the_modules_that_have_them(
    monkeypatch: pytest.MonkeyPatch, broker: StreamBroker
) -> None:
    async def task() -> None: ...

    task.__module__ = "some_service.tasks"
    module(monkeypatch, "some_service", broker=broker)
    module(monkeypatch, "some_service.tasks")
    broker.register_task(task, task_name="first")
    broker.register_task(task, task_name="second")
    orders = orders_for(broker)
    assert orders is not None
    assert (orders.tasks, orders.modules, orders.queue) == (["first", "second"], ["some_service.tasks"], "orders")
    assert WardOrders.parse(orders.line()) == orders
