"""Typed access to tasks: each is named once and called with its method's own types."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Generic, ParamSpec, Self, TypeVar, cast, overload

from taskiq import AsyncBroker

from kiqstart.tasks.call_chain import call_chain, innermost
from kiqstart.tasks.controller import Controller
from kiqstart.tasks.errors import WiringError, source_file
from kiqstart.tasks.task import Task

if TYPE_CHECKING:
    from kiqstart.scheduler.source import DurableScheduleSource

P = ParamSpec("P")
R = TypeVar("R")


class TaskReference(Generic[P, R]):
    """A line of a registry: a task's name, and the controller method that gives the call its types."""

    def __init__(self, name: StrEnum, method: Callable[Concatenate[Any, P], R]) -> None:
        self.name = name
        self.method = method

    def __repr__(self) -> str:
        return f"TaskReference({self.name.value!r}, {self.method.__qualname__})"

    @overload
    def __get__(self, instance: None, owner: type["BaseTasksRegistry"]) -> Self: ...

    @overload
    def __get__(self, instance: "BaseTasksRegistry", owner: type["BaseTasksRegistry"]) -> Task[P, R]: ...

    def __get__(self, instance: "BaseTasksRegistry | None", owner: type["BaseTasksRegistry"]) -> Self | Task[P, R]:
        """Give the registered task, ready for `kiq()`; on the class, the reference itself."""
        return self if instance is None else instance.task(self.name)


class BaseTasksRegistry:
    """The tasks of one broker. Subclasses list them as `TaskReference` attributes."""

    references: ClassVar[dict[str, TaskReference[..., object]]] = {}

    def __init_subclass__(cls) -> None:
        """Collect the references, those of parent registries included."""
        own: dict[str, TaskReference[..., object]] = {
            name: member for name, member in vars(cls).items() if isinstance(member, TaskReference)
        }
        cls.references = {**cls.references, **own}

    def __init__(self, broker: AsyncBroker) -> None:
        self.broker = broker

    def __repr__(self) -> str:
        lines = ", ".join(f"{attribute}={reference.name.value!r}" for attribute, reference in self.references.items())
        return f"{type(self).__name__}({lines})"

    @cached_property
    def schedules(self) -> "DurableScheduleSource":
        """Where schedules are added: `await registry.ping.schedule_by_cron(registry.schedules, "@daily")`."""
        from kiqstart.scheduler.source import DurableScheduleSource

        return DurableScheduleSource(self.broker)

    def task(self, name: str) -> Task[Any, Any]:
        """The task registered under a name.

        Raises:
            WiringError: no controller registered it.
        """
        task = self.broker.find_task(name)
        if task is None:
            raise WiringError(f"no controller registers the task {str(name)!r}: see {source_file(type(self))}")
        return cast("Task[Any, Any]", task)

    def register(self, controllers: Iterable[Controller], names: type[StrEnum]) -> None:
        """Let each controller register its tasks, then check that names, references and controllers fit together.

        Raises:
            WiringError: a name without controller, or without a line in the registry or with two, two controllers for
                one name, a task whose name is not in `names`, a reference typed from another method than the one
                registered, or a controller whose fields nothing fills in.
        """
        owners: dict[str, Controller] = {}
        for controller in controllers:
            self._register_one(controller, owners)
        for name, owner in owners.items():
            if name not in {member.value for member in names}:
                raise WiringError(
                    f"{source_file(type(owner))}: {type(owner).__name__} registers {name!r}, "
                    f"which is no {names.__name__}: add it in {source_file(names)}"
                )
        for member in names:
            if member.value not in owners:
                raise WiringError(
                    f"{source_file(names)}: {names.__name__}.{member.name} ({member.value!r}) has no controller: "
                    "write one that registers it, and list it in the container"
                )
        self._check_references(names)

    def _check_references(self, names: type[StrEnum]) -> None:
        registry = f"{source_file(type(self))}: {type(self).__name__}"
        lines: dict[str, str] = {}
        for attribute, reference in self.references.items():
            function: Callable[..., object] = self.task(reference.name).original_func
            if all(link is not reference.method for link in call_chain(function)):
                raise WiringError(
                    f"{registry}.{attribute} takes its types from {reference.method.__qualname__}, but "
                    f"{reference.name.value!r} runs {getattr(innermost(function), '__qualname__', function)}"
                )
            if (first := lines.setdefault(reference.name, attribute)) != attribute:
                raise WiringError(
                    f"{registry} has two lines for {reference.name.value!r}: remove {first} or {attribute}"
                )
        for member in set(names) - {reference.name for reference in self.references.values()}:
            raise WiringError(f"{registry} has no line for {names.__name__}.{member.name}: add a TaskReference")

    def _register_one(self, controller: Controller, owners: dict[str, Controller]) -> None:
        _check_fields(controller)
        before = dict(self.broker.local_task_registry)
        controller.register(self.broker)
        for name, task in self.broker.local_task_registry.items():
            if before.get(name) is task:
                continue
            if name in before:
                other = owners.get(name)
                raise WiringError(
                    f"{source_file(type(controller))}: {type(controller).__name__} registers {name!r}, which "
                    f"{type(other).__name__ if other else 'another module'} has registered already"
                )
            owners[name] = controller


def _check_fields(controller: Controller) -> None:
    cls = type(controller)
    named = [name for name, hint in vars(cls).get("__annotations__", {}).items() if "ClassVar" not in str(hint)]
    if missing := [name for name in named if not hasattr(controller, name)]:
        raise WiringError(
            f"{source_file(cls)}: {cls.__name__} has no value for its field {missing[0]}: write "
            f"@dataclass(frozen=True, kw_only=True) above the class, so that the container fills it in"
        )
