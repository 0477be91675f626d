"""Sending a task as an operator does."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from taskiq.exceptions import SendTaskError

from kiqstart.broker.acts import Act, ActKind
from kiqstart.broker.broker import StreamBroker
from kiqstart.errors import OperatorError
from kiqstart.operations.schedule_wording import shown_arguments
from kiqstart.tasks.errors import InvalidTaskArgumentsError
from kiqstart.tasks.kicker import held_by
from kiqstart.tasks.sealing.secrets import ENCRYPTED

if TYPE_CHECKING:
    from taskiq import AsyncTaskiqDecoratedTask


class NotRunError(OperatorError):
    """A task was not sent."""


async def send_task(
    broker: StreamBroker, name: str, args: Sequence[object], kwargs: Mapping[str, object]
) -> tuple[str, Act]:
    """Send a task that the broker has; gives its id, and what is to be kept in the log of acts.

    Raises:
        NotRunError: it was not sent.
        RedisError: Redis is away.
    """
    # Its signature is not known to a type checker.
    task = cast("AsyncTaskiqDecoratedTask[..., Any]", broker.find_task(name))
    try:
        sent = await task.kiq(*args, **kwargs)
    except InvalidTaskArgumentsError as error:
        raise NotRunError(str(error)) from None
    except SendTaskError as error:
        raise NotRunError(f"{name}: {error}") from None
    if (holder := held_by.get()) is not None:
        raise NotRunError(f"{name} is not sent, since task {holder} waits or runs with its unique key")
    # What is encrypted in its message is not to stand beside it.
    called = [ENCRYPTED] if broker.secrets.encrypts else shown_arguments(args, kwargs)
    return sent.task_id, Act(kind=ActKind.RUN_TASK, target=name, detail=" ".join([sent.task_id, *called]))
