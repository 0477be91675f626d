"""How a task's function is called, read once from what it says."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from logging import getLogger
from typing import Any, Self

from taskiq import AsyncBroker, Context, TaskiqMessage, TaskiqState
from taskiq.acks import AckController
from taskiq_dependencies import DependencyGraph
from taskiq_dependencies.ctx import AsyncResolveContext

from kiqstart.broker.receiver.argument_parser import ArgumentParser
from kiqstart.tasks.results.error_taming import tamed

logger = getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """What a task's function says about how to run it.

    Args:
        target: the function.
        is_coroutine: whether it is async; any other runs in an executor.
        graph: its dependencies; None without any.
        parser: of the arguments that have annotations; None where there is nothing to parse.
    """

    target: Callable[..., Any]
    is_coroutine: bool
    graph: DependencyGraph | None
    parser: ArgumentParser | None

    @classmethod
    def of(
        cls, target: Callable[..., Any], signature: inspect.Signature, hints: Mapping[str, Any], graph: DependencyGraph
    ) -> Self:
        """The plan of a function."""
        return cls(
            target=target,
            is_coroutine=inspect.iscoroutinefunction(target),
            graph=None if graph.is_empty() else graph,
            parser=ArgumentParser(signature, hints) if signature.parameters.keys() & hints.keys() else None,
        )

    def parse(self, message: TaskiqMessage) -> None:
        """Turn a message's arguments into the types that the function has for them."""
        if self.parser is not None:
            self.parser.parse(message)

    def dependencies(
        self, broker: AsyncBroker, message: TaskiqMessage, acks: AckController | None
    ) -> AsyncResolveContext | None:
        """What resolves the function's dependencies; None without any."""
        if self.graph is None:
            return None
        known = broker.custom_dependency_context
        known.update({Context: Context(message, broker, acks), TaskiqState: broker.state})
        # A copy, since another task may begin before this one's dependencies are there.
        return self.graph.async_ctx(dict(known), broker.dependency_overrides or None)


async def end_dependencies(
    message: TaskiqMessage, dependencies: AsyncResolveContext, error: BaseException | None, *, propagates: bool
) -> BaseException | None:
    """End the dependencies of a run; gives the run's error, which may be one of theirs.

    Args:
        message: what was run.
        dependencies: what was resolved for it.
        error: what the run has raised.
        propagates: whether they get to know it.
    """
    try:
        if error is not None and propagates:
            await dependencies.close(type(error), error, error.__traceback__)
        else:
            await dependencies.close(None, None, None)
    except BaseException as caught:  # it is the task's result
        if error is None:
            return tamed(caught)
        if caught is not error:
            name, task_id, later = message.task_name, message.task_id, tamed(caught)
            text = "Task %s with id %s has failed, then a dependency at its end"
            logger.exception(text, name, task_id, exc_info=later)
    return error
