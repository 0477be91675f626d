"""Calling middlewares' hooks, and only those that a middleware has."""

from asyncio import Timeout
from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import isawaitable
from logging import getLogger
from time import monotonic
from typing import Any, Final, TypeVar

from taskiq import AsyncBroker, TaskiqMessage, TaskiqMiddleware, TaskiqResult

from kiqstart.tasks.results.error_taming import tamed
from kiqstart.tasks.tracing import Tracing

logger = getLogger(__name__)

Sent = Callable[[TaskiqMessage], TaskiqMessage | Awaitable[TaskiqMessage]]
Seen = Callable[[TaskiqMessage], Awaitable[None] | None]
Ended = Callable[[TaskiqMessage, TaskiqResult[Any]], Awaitable[None] | None]
# Gives what ends a hook that takes too long, anew for each.
Limit = Callable[[], Timeout]
T = TypeVar("T")
Failed = Callable[[TaskiqMessage, TaskiqResult[Any], BaseException], Awaitable[None] | None]


class ChecksForOtherReceivers(TaskiqMiddleware):
    """Its `pre_execute` does for other receivers what kiqstart's has done already where a delivery begins to run."""


class Hooks:
    """The hooks that a broker's middlewares have, each kind in the order in which taskiq calls it.

    Args:
        middlewares: in the order in which they were added.
        needed: further ones, which stand behind the first where there are none of their kinds.
    """

    def __init__(
        self, middlewares: Sequence[TaskiqMiddleware], needed: Mapping[tuple[type, ...], TaskiqMiddleware]
    ) -> None:
        base = TaskiqMiddleware
        self.middlewares = list(middlewares)
        missing = [one for kinds, one in needed.items() if not any(isinstance(other, kinds) for other in middlewares)]
        inwards = [*middlewares[:1], *missing, *middlewares[1:]]
        self.tracing: Tracing | None = next((one for one in inwards if isinstance(one, Tracing)), None)
        inwards.sort(key=lambda one: not isinstance(one, Tracing))
        outwards = list(reversed(inwards))
        self.pre_send: list[Sent] = [one.pre_send for one in inwards if type(one).pre_send is not base.pre_send]
        self.post_send: list[Seen] = [one.post_send for one in outwards if type(one).post_send is not base.post_send]
        self.pre_execute: list[Sent] = [
            one.pre_execute for one in inwards if type(one).pre_execute is not base.pre_execute
        ]
        checks = {one.pre_execute for one in inwards if isinstance(one, ChecksForOtherReceivers)}
        self.pre_execute_checked: list[Sent] = [hook for hook in self.pre_execute if hook not in checks]
        self.post_execute: list[Ended] = [
            one.post_execute for one in outwards if type(one).post_execute is not base.post_execute
        ]
        self.on_error: list[Failed] = [one.on_error for one in outwards if type(one).on_error is not base.on_error]
        self.post_save: list[Ended] = [one.post_save for one in outwards if type(one).post_save is not base.post_save]


# Kept in the broker itself: its middlewares know it, so a table of ours would keep all of them for ever.
_ATTRIBUTE: Final = "_kiqstart_hooks"
_NEEDED: Final = "_kiqstart_needed"


def need(broker: AsyncBroker, middlewares: Mapping[tuple[type, ...], TaskiqMiddleware]) -> None:
    """Have a broker use middlewares without which its tasks would not do as they say, unless it has others for that.

    Args:
        broker: has its own as they are.
        middlewares: each with its kinds: one of these, that somebody has added, stands for it.
    """
    for one in middlewares.values():
        one.set_broker(broker)
    vars(broker)[_NEEDED] = middlewares
    vars(broker).pop(_ATTRIBUTE, None)


def hooks_of(broker: AsyncBroker) -> Hooks:
    """The hooks of a broker's middlewares as they are now."""
    known = vars(broker)
    hooks: Hooks | None = known.get(_ATTRIBUTE)
    if hooks is None or hooks.middlewares != broker.middlewares:
        hooks = known[_ATTRIBUTE] = Hooks(broker.middlewares, known.get(_NEEDED, {}))
    return hooks


async def changed(hooks: Sequence[Sent], message: TaskiqMessage) -> TaskiqMessage:
    """Let hooks see, and change, a message.

    Raises:
        TypeError: one of them gives none.
    """
    for hook in hooks:
        returned = hook(message)
        if returned is not message:
            message = _checked(hook, await returned if isawaitable(returned) else returned)
    return message


async def admitted(
    hooks: Sequence[Sent], message: TaskiqMessage, limit: Limit
) -> tuple[TaskiqMessage, BaseException | None]:
    """Let hooks see, and change, a message that is to be run; gives it, and what one of them has raised."""
    for hook in hooks:
        try:
            returned = hook(message)
            if returned is not message:
                message = _checked(hook, await within(limit, hook, returned) if isawaitable(returned) else returned)
        except BaseException as error:  # noqa: BLE001  # it is the task's error
            return message, tamed(error)
    return message, None


async def notified(
    hooks: Sequence[Callable[..., object]], limit: Limit, message: TaskiqMessage, *details: object
) -> list[Exception]:
    """Tell hooks of a run that is over. What they raise is logged and given, and keeps none from being told."""
    errors: list[Exception] = []
    for hook in hooks:
        try:
            returned = hook(message, *details)
            if returned is not None and isawaitable(returned):
                await within(limit, hook, returned)
        except BaseException as caught:  # a task's outcome does not depend on who is told of it
            error, place = tamed(caught), _place_of(hook)
            logger.exception(
                "Task %s with id %s has run, then %s of a middleware failed",
                *(message.task_name, message.task_id, place),
                exc_info=error,
            )
            if isinstance(error, Exception):
                errors.append(error)
    return errors


async def within(limit: Limit, hook: object, returned: Awaitable[T]) -> T:
    """Wait for a hook that is async, for as long as it may take.

    Raises:
        TimeoutError: it was cut off.
    """
    timeout = limit()
    began_at = monotonic()
    try:
        async with timeout:
            return await returned
    except TimeoutError:
        if not timeout.expired():
            raise
        seconds = monotonic() - began_at
        raise TimeoutError(f"{_place_of(hook)} of a middleware was cut off after {seconds:.1f} s") from None


async def finished(returned: object) -> None:
    """Wait for a hook that is async."""
    if returned is not None and isawaitable(returned):
        await returned


async def before_send(broker: AsyncBroker, message: TaskiqMessage) -> TaskiqMessage:
    """Let the middlewares see, and change, a message that is to be sent."""
    return await changed(hooks_of(broker).pre_send, message)


async def after_send(broker: AsyncBroker, message: TaskiqMessage) -> None:
    """Tell the middlewares that a message was sent."""
    for hook in hooks_of(broker).post_send:
        await finished(hook(message))


def _place_of(hook: object) -> str:
    return str(getattr(hook, "__qualname__", hook))


def _checked(hook: Sent, message: object) -> TaskiqMessage:
    if not isinstance(message, TaskiqMessage):
        raise TypeError(f"{_place_of(hook)} has to return a message, not {message!r:.50}")
    return message
