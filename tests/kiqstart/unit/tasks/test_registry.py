from dataclasses import dataclass
from enum import StrEnum

import pytest
from taskiq import AsyncBroker, InMemoryBroker
from tests.deadlines import HANG

from kiqstart.tasks.controller import Controller
from kiqstart.tasks.errors import WiringError
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.registry import BaseTasksRegistry, TaskReference


class Name(StrEnum):
    ADD = "sum.add"
    DOUBLE = "sum.double"


@dataclass(frozen=True, kw_only=True)
class AddController(Controller):
    _offset: int = 0

    def register(self, registry: AsyncBroker) -> None:
        register_task(registry, self.add, name=Name.ADD)

    async def add(self, left: int, right: int = 1) -> int:
        return left + right + self._offset


class DoubleController(Controller):
    def register(self, registry: AsyncBroker) -> None:
        register_task(registry, self.double, name=Name.DOUBLE)

    async def double(self, number: int) -> int:
        return 2 * number


class Registry(BaseTasksRegistry):
    add = TaskReference(Name.ADD, AddController.add)
    double = TaskReference(Name.DOUBLE, DoubleController.double)


@pytest.fixture
def broker() -> InMemoryBroker:
    return InMemoryBroker(await_inplace=True)


async def test_a_reference_sends_the_task(broker: InMemoryBroker) -> None:
    registry = Registry(broker)
    registry.register([AddController(_offset=10), DoubleController()], Name)
    task = await registry.add.kiq(1, right=2)
    result = await task.wait_result(timeout=HANG)
    assert result.return_value == 13


async def test_a_task_can_be_called_directly_without_a_broker(broker: InMemoryBroker) -> None:
    registry = Registry(broker)
    registry.register([AddController(), DoubleController()], Name)
    assert await registry.double(21) == 42


def test_a_name_without_controller(broker: InMemoryBroker) -> None:
    with pytest.raises(WiringError, match=r"test_registry\.py: Name\.DOUBLE \('sum\.double'\) has no controller"):
        Registry(broker).register([AddController()], Name)


def test_two_controllers_for_one_name(broker: InMemoryBroker) -> None:
    class Impostor(Controller):
        def register(self, registry: AsyncBroker) -> None:
            @registry.task(Name.ADD)
            async def add() -> None: ...

    with pytest.raises(WiringError, match=r"Impostor registers 'sum\.add', which AddController has registered already"):
        Registry(broker).register([AddController(), Impostor()], Name)


def test_a_task_that_has_no_name(broker: InMemoryBroker) -> None:
    class Stranger(Controller):
        def register(self, registry: AsyncBroker) -> None:
            register_task(registry, self.run, name="sum.stranger")

        async def run(self) -> None: ...

    with pytest.raises(WiringError, match=r"Stranger registers 'sum\.stranger', which is no Name: add it in "):
        Registry(broker).register([AddController(), DoubleController(), Stranger()], Name)


def test_a_name_without_a_line_in_the_registry(broker: InMemoryBroker) -> None:
    class Short(BaseTasksRegistry):
        add = TaskReference(Name.ADD, AddController.add)

    with pytest.raises(WiringError, match=r"Short has no line for Name\.DOUBLE: add a TaskReference"):
        Short(broker).register([AddController(), DoubleController()], Name)


def test_a_line_typed_from_another_method(broker: InMemoryBroker) -> None:
    class Crossed(BaseTasksRegistry):
        add = TaskReference(Name.ADD, DoubleController.double)
        double = TaskReference(Name.DOUBLE, DoubleController.double)

    with pytest.raises(
        WiringError, match=r"Crossed\.add takes its types from DoubleController\.double, but 'sum\.add'"
    ):
        Crossed(broker).register([AddController(), DoubleController()], Name)


def test_a_task_nobody_registered(broker: InMemoryBroker) -> None:
    with pytest.raises(WiringError, match=r"no controller registers the task 'sum\.add'"):
        _ = Registry(broker).add


def test_a_registry_inherits_the_lines_of_its_parent(broker: InMemoryBroker) -> None:
    class Larger(Registry):
        pass

    registry = Larger(broker)
    registry.register([AddController(), DoubleController()], Name)
    assert registry.add.task_name == "sum.add"


def test_two_lines_for_one_name(broker: InMemoryBroker) -> None:
    class Doubled(Registry):
        again = TaskReference(Name.ADD, AddController.add)

    with pytest.raises(WiringError, match=r"Doubled has two lines for 'sum\.add': remove add or again"):
        Doubled(broker).register([AddController(), DoubleController()], Name)


def test_a_controller_whose_fields_nothing_fills_in(broker: InMemoryBroker) -> None:
    class Undecorated(DoubleController):
        _offset: int

    with pytest.raises(
        WiringError, match=r"test_registry\.py: Undecorated has no value for its field _offset: write @da"
    ):
        Registry(broker).register([AddController(), Undecorated()], Name)


async def test_a_dataclass_that_is_not_frozen_works(broker: InMemoryBroker) -> None:
    @dataclass
    class Thrice(Controller):
        _factor: int

        def register(self, registry: AsyncBroker) -> None:
            register_task(registry, self.multiply, name=Name.ADD)

        async def multiply(self, number: int) -> int:
            return self._factor * number

    class Multiplied(BaseTasksRegistry):
        add = TaskReference(Name.ADD, Thrice.multiply)
        double = TaskReference(Name.DOUBLE, DoubleController.double)

    registry = Multiplied(broker)
    registry.register([Thrice(_factor=3), DoubleController()], Name)
    assert await (await registry.add.kiq(2)).result(timeout=HANG) == 6


async def test_all_of_it_says_what_it_is(broker: InMemoryBroker) -> None:
    registry = Registry(broker)
    registry.register([AddController(), DoubleController()], Name)
    assert repr(registry) == "Registry(add='sum.add', double='sum.double')"
    assert repr(Registry.add) == "TaskReference('sum.add', AddController.add)"
    sent = await registry.add.kicker().with_task_id("one").kiq(1)
    assert repr(sent) == "<SentTask sum.add one>"
    assert repr(registry.add) == "<Task sum.add>"
