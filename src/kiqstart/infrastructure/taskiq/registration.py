"""Registering a controller's method as a task."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from taskiq import AsyncBroker, AsyncTaskiqDecoratedTask
from taskiq.acks import AcknowledgeType

from kiqstart.infrastructure.taskiq.arguments import task_arguments
from kiqstart.infrastructure.taskiq.errors import WiringError, source_file

P = ParamSpec("P")
R = TypeVar("R")


def register_task(
    broker: AsyncBroker,
    method: Callable[P, Coroutine[Any, Any, R]],
    *,
    name: str,
    max_retries: int = 0,
    retry_delay: float = 60.0,
    retry_on: tuple[type[Exception], ...] = (Exception,),
    acks_late: bool = True,
    timeout: float | None = None,
    **labels: str | float | bool,
) -> AsyncTaskiqDecoratedTask[P, Coroutine[Any, Any, R]]:
    """Register an async method (bound or plain function) under a name.

    Its arguments are validated before it runs; a call that does not fit fails with `InvalidTaskArgumentsError` and is
    never retried. To reach the message, the broker or the number of this try, the method takes a parameter
    `context: Context = TaskiqDepends()`.

    Args:
        broker: where the task is registered.
        method: the task.
        name: the task's name on the wire, unique on this broker.
        max_retries: how often a failed run is made again, after the first; 0 for never.
        retry_delay: seconds between a failure and the next try.
        retry_on: which exceptions are worth another try.
        acks_late: True acknowledges when the result is stored (a crash runs the task again), False before it runs.
        timeout: seconds after which a run is cancelled and counts as failed; None for no limit.
        labels: further taskiq labels.

    Raises:
        WiringError: a name that is taken, an option out of its range, or a parameter type that cannot travel as JSON.
    """
    where = f"{source_file(method)}: task {str(name)!r}"
    if max_retries < 0 or retry_delay < 0 or (timeout is not None and timeout <= 0):
        raise WiringError(f"{where}: max_retries and retry_delay must not be negative, timeout must be above 0")
    if str(name) in broker.local_task_registry:
        raise WiringError(f"{where}: the name is taken already")
    if timeout is not None:
        labels["timeout"] = timeout
    return broker.register_task(
        _plain_function(method, str(name), where),
        task_name=str(name),
        max_retries=max_retries,
        retry_delay=retry_delay,
        types_of_exceptions=retry_on,
        ack_type=(AcknowledgeType.WHEN_SAVED if acks_late else AcknowledgeType.WHEN_RECEIVED).value,
        **labels,
    )


def _plain_function(
    method: Callable[P, Coroutine[Any, Any, R]], name: str, where: str
) -> Callable[P, Coroutine[Any, Any, R]]:
    # taskiq renames the function that it registers, which a bound method does not allow.
    try:
        arguments = task_arguments(method)
    except TypeError as error:
        raise WiringError(f"{where}: {error}") from None

    call: Callable[..., Coroutine[Any, Any, R]] = method

    @functools.wraps(method)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        injected = {key: kwargs.pop(key) for key in arguments.injected if key in kwargs}
        valid_args, valid_kwargs = arguments.validate(name, args, kwargs)
        return await call(*valid_args, **valid_kwargs, **injected)

    # The receiver casts by annotation and merely warns where it cannot; with only the injected parameters annotated, it
    # leaves the message's own arguments to the validation above.
    run.__annotations__ = {**arguments.injected, "return": arguments.return_type}
    return run
