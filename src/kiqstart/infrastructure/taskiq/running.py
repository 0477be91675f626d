"""Running a task as taskiq documents, without the work that its message does not need."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from inspect import isawaitable
from time import time
from typing import Any

import anyio
from taskiq import (
    AckableMessage,
    AsyncTaskiqDecoratedTask,
    Context,
    NoResultError,
    TaskiqMessage,
    TaskiqResult,
    TaskiqState,
)
from taskiq.acks import AckController, AcknowledgeType
from taskiq.receiver.params_parser import parse_params
from taskiq.receiver.receiver import Receiver, logger
from taskiq_dependencies import DependencyGraph
from taskiq_dependencies.ctx import AsyncResolveContext

from kiqstart.infrastructure.taskiq.hooks import Ended, changed, finished, hooks_of


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """What a task's function says about how to run it, read once.

    Args:
        target: the function.
        is_coroutine: whether it is async; any other runs in an executor.
        graph: its dependencies; None without any.
        signature: of the arguments that are parsed by their annotations; None where there is nothing to parse.
        hints: these annotations.
    """

    target: Callable[..., Any]
    is_coroutine: bool
    graph: DependencyGraph | None
    signature: inspect.Signature | None
    hints: Mapping[str, Any]


class RunningReceiver(Receiver):
    """taskiq's receiver, with the part that runs a task written anew.

    All that taskiq documents is as it is there (middlewares and their order, dependencies, parsing of arguments,
    time-outs, labels, kinds of acknowledgement, log lines): taskiq's own tests pass with it. What is left out is the
    work for what a task does not have: dependencies, annotated arguments, hooks, log lines that nobody sees.
    """

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  # taskiq's, handed on
        self._plans: dict[str, TaskPlan] = {}
        super().__init__(*args, **options)

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
        except Exception as error:  # noqa: BLE001  # whatever a serializer raises
            logger.warning("Cannot parse message: %s. Skipping execution.\n %s", data, error, exc_info=True)
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
        message = await changed(hooks.pre_execute, message)
        ack_time = self._get_ack_time(message)
        logger.info("Executing task %s with ID: %s", message.task_name, message.task_id)
        if ack_time is AcknowledgeType.WHEN_RECEIVED and acks.is_ackable:
            await acks.ack()
        result = await self.run_task(task.original_func, message, acks)
        if ack_time is AcknowledgeType.WHEN_EXECUTED and acks.is_ackable:
            await acks.ack()
        for hook in hooks.post_execute:
            await finished(hook(message, result))
        is_saved = await self._save(message, result, raise_err=raise_err)
        is_acked_now = ack_time is AcknowledgeType.WHEN_SAVED and acks.is_ackable
        if is_saved and hooks.post_save:
            if is_acked_now and self.stores_with_acknowledgement(acks):
                await acks.ack()
            await self._tell_of_result(hooks.post_save, message, result, raise_err=raise_err)
        if is_acked_now:
            await acks.ack()

    async def run_task(
        self, target: Callable[..., Any], message: TaskiqMessage, ack_controller: AckController | None = None
    ) -> TaskiqResult[Any]:
        """Run a task's function, and give its result or its error; the middlewares hear of an error."""
        if message.task_name not in self.known_tasks:
            self._prepare_task(message.task_name, target)
        dependencies = self._prepare_call(self._plans[message.task_name], message, ack_controller)
        returned: object = None
        error: BaseException | None = None
        began_at = time()
        try:
            kwargs = message.kwargs
            if dependencies is not None:
                kwargs = {**await dependencies.resolve_kwargs(), **kwargs}
            if self.is_coroutine(message.task_name, target) and "timeout" not in message.labels:
                returned = await target(*message.args, **kwargs)
            else:
                returned = await self.call(target, message, kwargs)
            if returned is not None and isawaitable(returned):
                returned = await returned
        except NoResultError as caught:
            error = caught
            logger.warning("Task %s with id %s skipped setting result.", message.task_name, message.task_id)
        except BaseException as caught:  # noqa: BLE001  # it is the task's result
            error = caught
            self.log_error(message, caught)
        seconds = time() - began_at
        if dependencies is not None:
            await self._close(dependencies, error)
        result = _result(message, returned, round(seconds, 2), error)
        if error is not None:
            for hook in hooks_of(self.broker).on_error:
                await finished(hook(message, result, error))
        return result

    def stores_with_acknowledgement(self, acks: AckController) -> bool:  # noqa: ARG002  # for those that override it
        """Whether a result is there only when its message is acknowledged; taskiq's order is the other way round."""
        return False

    async def call(self, target: Callable[..., Any], message: TaskiqMessage, kwargs: Mapping[str, Any]) -> object:
        """Call a function that is not async, or one that has a time-out."""
        is_coroutine = self.is_coroutine(message.task_name, target)
        timeout = message.labels.get("timeout")
        if timeout is not None and not is_coroutine:
            logger.warning("Timeouts for sync tasks don't work in python well.")
        called = target(*message.args, **kwargs) if is_coroutine else self._in_executor(target, message.args, kwargs)
        if timeout is None:
            return await called
        with anyio.fail_after(float(timeout)):
            returned = await called
            return await returned if isawaitable(returned) else returned

    def is_coroutine(self, task_name: str, target: Callable[..., Any]) -> bool:
        """Whether a task's function is async."""
        plan = self._plans.get(task_name)
        return plan.is_coroutine if plan is not None and plan.target is target else inspect.iscoroutinefunction(target)

    def log_error(self, message: TaskiqMessage, error: BaseException) -> None:  # noqa: ARG002  # for those that override it
        """Log what a task raised, as it is being handled."""
        logger.exception("Exception found while executing function.")

    def _prepare_task(self, name: str, handler: Callable[..., Any]) -> None:
        super()._prepare_task(name, handler)
        signature, hints, graph = self.task_signatures[name], self.task_hints[name], self.dependency_graphs[name]
        self._plans[name] = TaskPlan(
            target=handler,
            is_coroutine=inspect.iscoroutinefunction(handler),
            graph=None if graph.is_empty() else graph,
            signature=signature if signature.parameters.keys() & hints.keys() else None,
            hints=hints,
        )

    def _prepare_call(
        self, plan: TaskPlan, message: TaskiqMessage, acks: AckController | None
    ) -> AsyncResolveContext | None:
        if plan.signature is not None and self.validate_params:
            parse_params(plan.signature, dict(plan.hints), message)
        if plan.graph is None:
            return None
        known = self.broker.custom_dependency_context
        known.update({Context: Context(message, self.broker, acks), TaskiqState: self.broker.state})
        # A copy, since another task may begin before this one's dependencies are there.
        return plan.graph.async_ctx(dict(known), self.broker.dependency_overrides or None)

    async def _close(self, dependencies: AsyncResolveContext, error: BaseException | None) -> None:
        if error is not None and self.propagate_exceptions:
            await dependencies.close(type(error), error, error.__traceback__)
        else:
            await dependencies.close(None, None, None)

    def _in_executor(self, target: Callable[..., Any], args: list[Any], kwargs: Mapping[str, Any]) -> Awaitable[object]:
        call: Callable[[], object] = functools.partial(target, *args, **kwargs)
        if not self.is_process_pool:
            # It cannot be pickled; a process has one of its own.
            call = functools.partial(copy_context().run, call)
        return asyncio.get_running_loop().run_in_executor(self.executor, call)

    async def _save(self, message: TaskiqMessage, result: TaskiqResult[Any], *, raise_err: bool) -> bool:
        if isinstance(result.error, NoResultError):
            return False
        try:
            await self.broker.result_backend.set_result(message.task_id, result)
        except Exception:
            logger.exception("Can't set result in result backend.")
            if raise_err:
                raise
            return False
        return True

    async def _tell_of_result(
        self, hooks: Sequence[Ended], message: TaskiqMessage, result: TaskiqResult[Any], *, raise_err: bool
    ) -> None:
        try:
            for hook in hooks:
                await finished(hook(message, result))
        except Exception:
            logger.exception("A middleware failed after the result of task %s was stored", message.task_id)
            if raise_err:
                raise


def _result(message: TaskiqMessage, returned: object, seconds: float, error: BaseException | None) -> TaskiqResult[Any]:
    if error is None:
        # An error that is not given is not validated, which would cost more than all the rest.
        return TaskiqResult(is_err=False, return_value=returned, execution_time=seconds, labels=message.labels)
    return TaskiqResult(is_err=True, return_value=returned, execution_time=seconds, labels=message.labels, error=error)
