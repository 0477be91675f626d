"""Registering a controller's method as a task."""

import functools
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, Never, ParamSpec, Protocol, TypeVar, cast, runtime_checkable

from taskiq import AsyncBroker, AsyncTaskiqDecoratedTask
from taskiq.acks import AcknowledgeType

from kiqstart.tasks.arguments import TaskArguments, attach_arguments
from kiqstart.tasks.caller_types import shown
from kiqstart.tasks.errors import UnsupportedTaskError, WiringError, source_file
from kiqstart.tasks.label_values import number_problem
from kiqstart.tasks.labels import LONGEST_NAME, MAX_DELAY_SECONDS, QUEUE_LABEL
from kiqstart.tasks.queue_names import queue_name_problem
from kiqstart.tasks.signatures import check_callable, is_async
from kiqstart.tasks.task import Task
from kiqstart.tasks.task_options import option_problem
from kiqstart.tasks.unique_keys import UNIQUE_TEMPLATE_LABEL, KeyTemplate

P = ParamSpec("P")
R = TypeVar("R")
_SHOWN: Final = 100


@runtime_checkable
class PromisingBroker(Protocol):
    """A broker that can do by itself what the options of a task say."""

    def keep_promises(self) -> None:
        """A task with such options is registered."""


def register_task(
    broker: AsyncBroker,
    method: Callable[P, R],
    *,
    name: str,
    queue: str | None = None,
    max_retries: int = 0,
    retry_delay: float = 60.0,
    retry_backoff: float = 1.0,
    retry_max_delay: float = 24 * 3600.0,
    retry_jitter: float = 0.0,
    retry_on: tuple[type[Exception], ...] = (Exception,),
    acks_late: bool = True,
    timeout: float | None = None,
    unique: str | None = None,
    labels: Mapping[str, str | float | bool] | None = None,
    **unknown: Never,
) -> Task[P, R]:
    """Register a method (bound or plain function) under a name.

    An async method runs on the worker's event loop, any other one in a thread of its own, where a timeout can report
    but not stop it.

    Its arguments are validated before it runs; a call that does not fit fails with `InvalidTaskArgumentsError` and is
    never retried. To reach the message, the broker or the number of this try, the method takes a parameter
    `context: Context = TaskiqDepends()`.

    Args:
        broker: where the task is registered.
        method: the task.
        name: the task's name on the wire, unique on this broker.
        queue: the queue that it waits in; None for the default one.
        max_retries: how often a failed run is made again, after the first; 0 for never.
        retry_delay: seconds between the first failure and the next try.
        retry_backoff: by what the delay is multiplied for each further try; 1 keeps it as it is.
        retry_max_delay: the longest delay in seconds.
        retry_jitter: by what share (0 to 1) a delay is lengthened or shortened at random.
        retry_on: which exceptions are worth another try.
        acks_late: True acknowledges when the result is stored (a crash runs the task again), False before it runs
            (a crash loses the task, and its caller gets `TaskCutOffError`).
        timeout: seconds after which a run is cancelled and counts as failed; None for no limit.
        unique: of the calls that have this key, one waits or runs at a time; another one is not sent, and its caller
            gets the task that is there. Arguments stand in braces: `"report:{user_id}"`; see `KeyTemplate`.
        labels: taskiq labels of one's own, for middlewares.
        unknown: there are no other options.

    Raises:
        WiringError: a name that is taken, an option that is unknown or out of its range, a method that is not bound or
            yields, or a type of a parameter or of the result that does not arrive as it was sent.
    """
    where = f"{source_file(method)}: task {str(name)[:_SHOWN]!r}"
    if labels is not None and not isinstance(labels, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller's types are checked
        raise WiringError(f"{where}: labels={shown(labels)}: write labels, such as {{'team': 'mail'}}")
    if problem := option_problem(unknown, labels or {}):
        raise WiringError(f"{where}: {problem}")
    _check_types(where, name, retry_on)
    _check_numbers(where, max_retries, retry_delay, retry_backoff, retry_max_delay, retry_jitter, timeout)
    if str(name) in broker.local_task_registry:
        raise WiringError(f"{where}: the name is taken already")
    if queue is not None and (problem := queue_name_problem(queue)):
        raise WiringError(f"{where}: queue={shown(queue)}: {problem}")
    arguments = _arguments(where, method)
    if unique is not None:
        _check_template(where, unique, arguments)
    function = _plain_function(method, str(name), arguments)
    optional = {"timeout": timeout, QUEUE_LABEL: queue, UNIQUE_TEMPLATE_LABEL: unique}
    all_labels = {**(labels or {}), **{label: value for label, value in optional.items() if value is not None}}
    if max_retries:
        all_labels |= {"retry_backoff": retry_backoff, "retry_max_delay": retry_max_delay, "retry_jitter": retry_jitter}
    if broker.decorator_class is AsyncTaskiqDecoratedTask:
        # Of any broker, such as taskiq's own in tests: its tasks are sent and waited for alike.
        broker.decorator_class = Task
    task = broker.register_task(
        function,
        task_name=str(name),
        max_retries=max_retries,
        retry_delay=retry_delay,
        types_of_exceptions=retry_on,
        ack_type=(AcknowledgeType.WHEN_SAVED if acks_late else AcknowledgeType.WHEN_RECEIVED).value,
        **all_labels,
    )
    if isinstance(broker, PromisingBroker):
        broker.keep_promises()
    return cast("Task[P, R]", task)


def _is_name(name: str) -> bool:
    try:
        return len(name.encode()) <= LONGEST_NAME
    except UnicodeEncodeError:
        return False


def _check_types(where: str, name: object, retry_on: object) -> None:
    # Not every caller's types are checked.
    if not isinstance(name, str) or not name:
        raise WiringError(f"{where}: name={shown(name)}: write a name, as text")
    if not _is_name(name):
        raise WiringError(f"{where}: name={shown(name)}: a name is UTF-8 of at most {LONGEST_NAME} bytes")
    given = shown(retry_on)
    errors = cast("tuple[object, ...]", retry_on) if isinstance(retry_on, tuple) else (retry_on,)
    if not all(isinstance(one, type) and issubclass(one, BaseException) for one in errors):
        raise WiringError(f"{where}: retry_on={given}: write exception classes, such as (OSError, ValueError)")


def _is_finite_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _check_numbers(
    where: str,
    max_retries: int,
    retry_delay: float,
    retry_backoff: float,
    retry_max_delay: float,
    retry_jitter: float,
    timeout: float | None,
) -> None:
    # Not every caller's types are checked.
    numbers: list[object] = [
        max_retries,
        retry_delay,
        retry_backoff,
        retry_max_delay,
        retry_jitter,
        0 if timeout is None else timeout,
    ]
    if not all(_is_finite_number(number) for number in numbers):
        raise WiringError(f"{where}: retries, delays and timeout must be finite numbers")
    if not isinstance(numbers[0], int):
        raise WiringError(f"{where}: max_retries={max_retries!r}: write a whole number")
    if max_retries < 0 or retry_delay < 0 or (timeout is not None and timeout <= 0):
        raise WiringError(f"{where}: max_retries and retry_delay must not be negative, timeout must be above 0")
    if retry_backoff < 1 or retry_max_delay <= 0 or not 0 <= retry_jitter <= 1:
        raise WiringError(f"{where}: retry_backoff is at least 1, retry_max_delay above 0, retry_jitter from 0 to 1")
    if max(retry_delay, retry_max_delay) > MAX_DELAY_SECONDS:
        raise WiringError(f"{where}: retry_delay and retry_max_delay are at most 3650 days")
    bounded = {"max_retries": max_retries, "retry_backoff": retry_backoff, "timeout": 1 if timeout is None else timeout}
    for name, value in bounded.items():
        if problem := number_problem(name, value):
            raise WiringError(f"{where}: {problem}")


def _arguments(where: str, method: object) -> TaskArguments:
    try:
        arguments = TaskArguments(check_callable(method))
        arguments.check_sendable()
    except UnsupportedTaskError as error:
        raise WiringError(f"{where}: {error}") from None
    except Exception as error:  # reading a callable runs whatever its author hooked into that
        raise WiringError(f"{where}: it cannot be read: {type(error).__name__}: {error}") from error
    return arguments


def _check_template(where: str, template: str, arguments: TaskArguments) -> None:
    try:
        KeyTemplate(template, arguments)
    except UnsupportedTaskError as error:
        raise WiringError(f"{where}: unique={shown(template)}: {error}") from None


def _plain_function(method: Callable[P, R], name: str, arguments: TaskArguments) -> Callable[P, R]:
    # taskiq renames the function that it registers, which a bound method does not allow.
    call: Callable[..., Any] = method

    def prepared(args: tuple[object, ...], kwargs: dict[str, object]) -> functools.partial[Any]:
        injected = arguments.injection.split(kwargs)
        valid_args, valid_kwargs = arguments.validate(name, args, kwargs)
        return functools.partial(call, *valid_args, **valid_kwargs, **injected)

    @functools.wraps(method)
    async def run(*args: P.args, **kwargs: P.kwargs) -> object:
        return await prepared(args, kwargs)()

    @functools.wraps(method)
    def run_in_thread(*args: P.args, **kwargs: P.kwargs) -> object:
        return prepared(args, kwargs)()

    function = run if is_async(method) else run_in_thread
    attach_arguments(function, arguments)
    # taskiq puts it into its module, which there is none of where code was made by exec.
    if function.__module__ not in sys.modules:
        function.__module__ = __name__
    # The receiver casts by annotation and merely warns where it cannot; with only the injected parameters annotated, it
    # leaves the message's own arguments to the validation above.
    function.__annotations__ = dict(arguments.injection.hints)
    if arguments.return_type is not None:
        function.__annotations__["return"] = arguments.return_type
    # A decorated method would show the signature of its function, with self.
    vars(function)["__signature__"] = arguments.injection.signature()
    return cast("Callable[P, R]", function)
