"""Running a task as taskiq documents, without the work that its message does not need."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from inspect import isawaitable
from time import time
from typing import Any, Final

from taskiq import AckableMessage, AsyncTaskiqDecoratedTask, NoResultError, TaskiqMessage, TaskiqResult
from taskiq.acks import AckController, AcknowledgeType
from taskiq.receiver.receiver import Receiver, logger
from taskiq_dependencies.ctx import AsyncResolveContext

from kiqstart.broker.receiver.misfit import TaskCall
from kiqstart.broker.receiver.process_pool import ProcessPool
from kiqstart.broker.receiver.task_plan import TaskPlan, end_dependencies
from kiqstart.tasks.arguments import has_arguments
from kiqstart.tasks.hooks import Hooks, Sent, admitted, hooks_of, notified
from kiqstart.tasks.label_values import TIMEOUT_LABEL, timeout_of
from kiqstart.tasks.results.error_taming import tamed

# To ask of others takes longer than all that a small task does.
_NEVER_AWAITABLE: Final = frozenset({type(None), bool, int, float, str, bytes, dict, list, tuple})


@dataclass(slots=True)
class _Run:
    """A run of a function: its arguments by name, and its dependencies, as far as it has them."""

    kwargs: Mapping[str, Any]
    dependencies: AsyncResolveContext | None = None


class BaseReceiver(Receiver):
    """taskiq's receiver, with the part that runs a task written anew.

    All that taskiq documents is as it is there (middlewares and their order, dependencies, parsing of arguments,
    time-outs, labels, kinds of acknowledgement, log lines): taskiq's own tests pass with it. What is left out is the
    work for what a task does not have: dependencies, annotated arguments, hooks, log lines that nobody sees.

    What taskiq leaves open always has an end here. A hook that raises before a task has failed it, one that raises
    after it changes nothing, and so it is with labels that make no sense, and with errors of any class.
    """

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  # taskiq's, handed on
        self._plans: dict[str, TaskPlan] = {}
        super().__init__(*args, **options)
        self.pool = ProcessPool(self.executor) if isinstance(self.executor, ProcessPoolExecutor) else None

    async def listen(self, finish_event: asyncio.Event) -> None:
        """Run tasks until the event is set."""
        try:
            await self.receive(finish_event)
        finally:
            if self.pool is not None:
                self.pool.close()

    async def receive(self, finish_event: asyncio.Event) -> None:
        """Run tasks until the event is set."""
        await super().listen(finish_event)

    async def callback(self, message: bytes | AckableMessage, raise_err: bool = False) -> None:
        """Run the task of a message as it came from a broker; what is none of this broker's is logged and dropped.

        Raises:
            Exception: a result could not be stored, and `raise_err` asks for that.
        """
        acks = AckController(message.ack if isinstance(message, AckableMessage) else None)
        data = message.data if isinstance(message, AckableMessage) else message
        try:
            parsed = self.broker.formatter.loads(message=data)
            parsed.parse_labels()
        except Exception as caught:  # noqa: BLE001  # whatever a serializer raises
            error = tamed(caught)
            logger.warning("Cannot parse message: %s. Skipping execution.\n %s", data, error, exc_info=error)
        else:
            task = self.broker.find_task(parsed.task_name)
            if task is not None:
                await self.run_message(task, parsed, acks, raise_err=raise_err)
                return
            logger.warning('task "%s" is not found. Maybe you forgot to import it?', parsed.task_name)
        if acks.is_ackable:
            await acks.ack()

    async def run_message(
        self,
        task: AsyncTaskiqDecoratedTask[..., Any],
        message: TaskiqMessage,
        acks: AckController,
        *,
        raise_err: bool = False,
    ) -> None:
        """Run a task, with all hooks of the middlewares, and store its result."""
        hooks = hooks_of(self.broker)
        refusal: BaseException | None = None
        if before := self.hooks_before(hooks, acks):
            message, refusal = await admitted(before, message, self.hook_limit)
        if refusal is None:
            ack_time = self._get_ack_time(message)
            self.log_start(message)
            if ack_time is AcknowledgeType.WHEN_RECEIVED and acks.is_ackable:
                await acks.ack()
            result = await self.run_task(task.original_func, message, acks)
        else:
            # It has not run: it can neither have acknowledged its message, nor may that be done before its end.
            ack_time = AcknowledgeType.WHEN_SAVED
            result = await self.refuse(message, refusal)
        if ack_time is AcknowledgeType.WHEN_EXECUTED and acks.is_ackable:
            await acks.ack()
        if hooks.post_execute:
            await notified(hooks.post_execute, self.hook_limit, message, result)
        is_saved = await self.save(message, result, raise_err=raise_err)
        is_acked_now = ack_time is AcknowledgeType.WHEN_SAVED and acks.is_ackable
        if is_saved and hooks.post_save:
            if is_acked_now and self.stores_with_acknowledgement(acks):
                await acks.ack()
            errors = await notified(hooks.post_save, self.hook_limit, message, result)
            if errors and raise_err:
                raise errors[0]
        if is_acked_now:
            await acks.ack()

    async def run_task(
        self, target: Callable[..., Any], message: TaskiqMessage, ack_controller: AckController | None = None
    ) -> TaskiqResult[Any]:
        """Run a task's function, and give its result or its error; the middlewares hear of an error."""
        if message.task_name not in self.known_tasks:
            self._prepare_task(message.task_name, target)
        began_at = time()
        run = _Run(kwargs=message.kwargs)
        returned, error = await self._run_function(run, target, message, ack_controller)
        seconds = time() - began_at
        if run.dependencies is not None:
            propagates = self.propagate_exceptions
            error = await end_dependencies(message, run.dependencies, error, propagates=propagates)
        result = _result(message, returned, round(seconds, 2), error)
        if error is not None:
            call = TaskCall(target=target, args=message.args, kwargs=run.kwargs)
            await self.handle_error(message, result, error, call)
        return result

    async def _run_function(
        self, run: "_Run", target: Callable[..., Any], message: TaskiqMessage, ack_controller: AckController | None
    ) -> tuple[object, BaseException | None]:
        """What a function returns, or its error.

        The error's traceback refers to this frame. With the error in a variable of it, that would be a cycle, and the
        arguments, which may be large, would live until Python looks for cycles.
        """
        plan = self._plans[message.task_name]
        try:
            if self.validate_params:
                plan.parse(message)
            run.dependencies = plan.dependencies(self.broker, message, ack_controller)
            if run.dependencies is not None:
                run.kwargs = {**await run.dependencies.resolve_kwargs(), **run.kwargs}
            is_coroutine = plan.is_coroutine if plan.target is target else self.is_coroutine(message.task_name, target)
            if is_coroutine and TIMEOUT_LABEL not in message.labels:
                returned = await target(*message.args, **run.kwargs)
            else:
                returned = await self.call(target, message, run.kwargs, timeout_of(message))
            if type(returned) not in _NEVER_AWAITABLE and isawaitable(returned):
                returned = await returned
        except BaseException as caught:  # noqa: BLE001  # it is the task's result
            return None, tamed(caught)
        return returned, None

    async def refuse(self, message: TaskiqMessage, error: BaseException) -> TaskiqResult[Any]:
        """The result of a task that is not run, since a middleware has raised before it."""
        result = _result(message, None, 0.0, error)
        await self.handle_error(message, result, error, None)
        return result

    async def handle_error(
        self,
        message: TaskiqMessage,
        result: TaskiqResult[Any],
        error: BaseException,
        call: TaskCall | None,
    ) -> None:
        """Log an error and tell the middlewares, who may change the result.

        Args:
            message: what was to be run.
            result: has the error.
            error: what was raised.
            call: the call of the task's function; None where there was none.
        """
        if call is None:
            name, task_id = message.task_name, message.task_id
            logger.error("Task %s with id %s is not run: a middleware failed", name, task_id, exc_info=error)
        elif isinstance(error, NoResultError):
            logger.warning("Task %s with id %s skipped setting result.", message.task_name, message.task_id)
        else:
            self.log_error(message, error)
        await notified(hooks_of(self.broker).on_error, self.hook_limit, message, result, error)

    def hook_limit(self) -> asyncio.Timeout:
        """What ends a middleware's hook that takes too long; taskiq knows no such limit."""
        return asyncio.timeout(None)

    def hooks_before(self, hooks: Hooks, acks: AckController) -> Sequence[Sent]:  # noqa: ARG002  # for those that override it
        """Which of the middlewares' hooks are called before a task runs."""
        return hooks.pre_execute

    def stores_with_acknowledgement(self, acks: AckController) -> bool:  # noqa: ARG002  # for those that override it
        """Whether a result is there only when its message is acknowledged; taskiq's order is the other way round."""
        return False

    async def call(
        self,
        target: Callable[..., Any],
        message: TaskiqMessage,
        kwargs: Mapping[str, Any],
        timeout: float | None,  # noqa: ASYNC109  # a label's
    ) -> object:
        """Call a function that is not async, or one that has a time-out."""
        is_coroutine = self.is_coroutine(message.task_name, target)
        if timeout is not None and not is_coroutine:
            logger.warning("Timeouts for sync tasks don't work in python well.")
        called = target(*message.args, **kwargs) if is_coroutine else self._in_executor(target, message.args, kwargs)
        if timeout is None:
            return await called
        raised: BaseException | None = None
        returned: object = None
        # Cancelled once: anyio's own would cut each await of the task's clean-up.
        limit = asyncio.timeout(timeout)
        text = f"task {message.task_name} ran longer than its time-out of {timeout:g} s"
        try:
            async with limit:
                try:
                    returned = await called
                    if isawaitable(returned):
                        returned = await returned
                except asyncio.CancelledError:
                    raise
                except BaseException as error:  # noqa: BLE001  # the block would set its traceback, which not each allows
                    raised = error
        except TimeoutError as expired:
            raise TimeoutError(text) from expired.__cause__
        if raised is not None:
            raise raised
        if limit.expired():
            raise TimeoutError(text)
        return returned

    def is_coroutine(self, task_name: str, target: Callable[..., Any]) -> bool:
        """Whether a task's function is async."""
        plan = self._plans.get(task_name)
        return plan.is_coroutine if plan is not None and plan.target is target else inspect.iscoroutinefunction(target)

    def log_start(self, message: TaskiqMessage) -> None:
        """Log that a task's function is about to be called."""
        logger.info("Executing task %s with ID: %s", message.task_name, message.task_id)

    def log_error(self, message: TaskiqMessage, error: BaseException) -> None:  # noqa: ARG002  # for those that override it
        """Log what a task raised."""
        logger.error("Exception found while executing function.", exc_info=error)

    def _prepare_task(self, name: str, handler: Callable[..., Any]) -> None:
        super()._prepare_task(name, handler)
        self._plans[name] = TaskPlan.of(
            handler, self.task_signatures[name], self.task_hints[name], self.dependency_graphs[name]
        )

    def _in_executor(self, target: Callable[..., Any], args: list[Any], kwargs: Mapping[str, Any]) -> Awaitable[object]:
        executor = self.executor
        if self.pool is not None:
            if not has_arguments(target):
                return self.pool.run(target, args, kwargs)
            # The method of an instance, with all that this depends on: it stays in this process.
            executor = None
        call = functools.partial(_without_stop_iteration, functools.partial(target, *args, **kwargs))
        return asyncio.get_running_loop().run_in_executor(executor, copy_context().run, call)

    def store(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> Awaitable[None] | None:
        """Hand a result to the result backend; None where that is done."""
        return self.broker.result_backend.set_result(message.task_id, result)

    async def save(self, message: TaskiqMessage, result: TaskiqResult[Any], *, raise_err: bool) -> bool:
        """Store a result; gives whether it is stored."""
        if result.error is not None:
            # A middleware may have put another one there.
            result.error = tamed(result.error)
            if isinstance(result.error, NoResultError):
                return False
        try:
            if (storing := self.store(message, result)) is not None:
                await storing
        except BaseException as error:
            text = "Can't set result in result backend: task %s, id %s"
            logger.error(text, message.task_name, message.task_id, exc_info=tamed(error))
            if raise_err:
                raise
            return False
        return True


def _without_stop_iteration(call: Callable[[], object]) -> object:
    try:
        return call()
    except (StopIteration, GeneratorExit) as error:
        # The one no future can hold, which then is never done; the other closes the coroutine that waits for it.
        raise RuntimeError(f"the task raised {type(error).__name__}") from error


def _result(message: TaskiqMessage, returned: object, seconds: float, error: BaseException | None) -> TaskiqResult[Any]:
    if error is None:
        # An error that is not given is not validated, which would cost more than all the rest.
        return TaskiqResult(is_err=False, return_value=returned, execution_time=seconds, labels=message.labels)
    result: TaskiqResult[Any] = TaskiqResult(
        is_err=True, return_value=returned, execution_time=seconds, labels=message.labels
    )
    # taskiq's validation drops an error that is false, as one with a length of 0 is.
    result.error = error
    return result
