"""What is done with a delivery before its task may run."""

import traceback
from collections.abc import Awaitable
from logging import getLogger
from typing import Any, Final

from taskiq import AsyncBroker, AsyncTaskiqDecoratedTask, TaskiqMessage, TaskiqResult

from kiqstart.broker.consumer import StreamConsumer
from kiqstart.broker.delivery import DONE, Again, Dead, DeadLetterReason, Delivery, Left
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.own_labels import hide_own_labels
from kiqstart.broker.receiver.failed_runs import FailedRuns
from kiqstart.broker.redis_retry import reason as summary
from kiqstart.tasks.formatting import JsonFormatter
from kiqstart.tasks.label_values import count_of
from kiqstart.tasks.labels import LONGEST_NAME
from kiqstart.tasks.messages import beginning_of, with_labels
from kiqstart.tasks.results.error_taming import tamed
from kiqstart.tasks.results.errors import TaskCancelledError, TaskTooLargeError, UnknownTaskError, UntrustedTaskError
from kiqstart.tasks.sealing.errors import UntrustedMessageError
from kiqstart.tasks.sizes import MessageTooLargeError

logger = getLogger(__name__)

UNACKNOWLEDGED_LABEL: Final = "unacknowledged"
# Characters, of which each has four bytes at most.
_SURELY_SHORT: Final = LONGEST_NAME // 4
_SECONDS_UNTIL_AGAIN: Final = 60.0


class _NoMessageError(Exception):
    """An entry is none of ours."""


class Preflight:
    """Sorts out what cannot be run (a dead letter, in the end) and what was cancelled."""

    def __init__(self, broker: AsyncBroker, consumer: StreamConsumer, options: StreamOptions) -> None:
        self._options = options
        self._broker = broker
        self._consumer = consumer
        self.failed_runs = FailedRuns(broker.formatter, options, consumer.shape_of)

    async def accept(self, delivery: Delivery) -> AsyncTaskiqDecoratedTask[..., Any] | None:
        """The task that is to be run; None for what is none, which is settled here."""
        try:
            message = self._read(delivery)
        except Exception as problem:  # noqa: BLE001  # whatever a serializer raises
            await self._settle_unreadable(delivery, tamed(problem))
            return None
        if delivery.is_cancelled:
            await self.settle_cancelled(delivery)
            return None
        hide_own_labels(message)
        task = self._broker.find_task(message.task_name)
        if task is None:
            await self._settle_unknown(delivery, message.task_name)
        elif (held_by := self._consumer.pause_of(message, task.original_func)) is not None:
            await self._set_aside(delivery, message.task_name, held_by)
            return None
        return task

    async def settle_cancelled(self, delivery: Delivery) -> None:
        """End a delivery whose task was cancelled; its caller gets that as the error."""
        if delivery.began_at is None:
            logger.info("Task %s with id %s was cancelled before it ran", delivery.task_name, delivery.task_id)
        delivery.outcome = DONE
        await self._fail(delivery, TaskCancelledError(delivery.task_id))
        await self._consumer.settle(delivery)

    def end(self, delivery: Delivery) -> Awaitable[None]:
        """End a delivery that has run, as its outcome says."""
        if delivery.outcome is not DONE and isinstance(delivery.outcome, Again):
            if delivery.is_cancelled:
                # Cancelled after its run has failed: there is no next try.
                return self.settle_cancelled(delivery)
            delivery.result = b""
        return self._consumer.settle(delivery)

    async def settle_unacknowledged(self, delivery: Delivery) -> None:
        """Run a task again that was to acknowledge by itself (`ack_type="manual"`) and has not.

        It is run as often as a message may go down with its worker; then it is a dead letter.
        """
        message = delivery.message
        if message is None:
            return
        times = count_of(message, UNACKNOWLEDGED_LABEL) + 1
        text = with_labels(message, {UNACKNOWLEDGED_LABEL: times})
        if times < self._options.max_deliveries:
            delivery.outcome = Again(message=self._broker.formatter.dumps(text).message, delay=_SECONDS_UNTIL_AGAIN)
            delivery.result = b""
        else:
            detail = f"the task has ended {times} times without acknowledging its message"
            delivery.outcome = Dead(reason=DeadLetterReason.NOT_ACKNOWLEDGED, detail=detail, message=delivery.data)
            if not delivery.has_result:
                # It asks for no result, but whoever waits for a dead letter's would wait for ever.
                await self._fail(delivery, RuntimeError(detail))
        await self._consumer.settle(delivery)

    async def bury(self, delivery: Delivery, reason: DeadLetterReason, why: BaseException) -> None:
        """Make a dead letter of a delivery, and tell its caller why."""
        if not delivery.has_result:
            await self._fail(delivery, tamed(why))
        await self._settle_dead(delivery, self.failed_runs.buried(delivery, reason, why))

    def _read(self, delivery: Delivery) -> TaskiqMessage:
        if not delivery.is_well_formed:
            raise _NoMessageError("the entry has no field 'data'; its fields are kept as the message")
        message = delivery.read or self._broker.formatter.loads(delivery.data)
        if len(message.task_id) + len(message.task_name) > _SURELY_SHORT:
            _check_names(message)
        self._consumer.in_flight.name(delivery, message)
        message.parse_labels()
        return message

    async def _settle_unreadable(self, delivery: Delivery, problem: BaseException) -> None:
        match problem:
            case _NoMessageError():
                await self._bury_malformed(delivery, str(problem))
            case MessageTooLargeError():
                await self._bury_too_large(delivery, problem)
            case UntrustedMessageError():
                await self._bury_untrusted(delivery, str(problem))
            case _:
                if self._knows_caller(delivery):
                    await self._fail(delivery, problem)
                await self._bury_malformed(delivery, "".join(traceback.format_exception(problem)))

    def _knows_caller(self, delivery: Delivery) -> bool:
        """Whether it is known whose message it is: its id may stand in front of what cannot be read."""
        if delivery.message is not None:
            return True
        beginning = beginning_of(delivery.data)
        if beginning is None or _longest_name(beginning) > LONGEST_NAME:
            return False
        if self._consumer.in_flight.of_task(beginning.task_id) is not None:
            # It may be anybody's.
            return False
        self._consumer.in_flight.name(delivery, beginning)
        return True

    async def _settle_unknown(self, delivery: Delivery, task_name: str) -> None:
        known = ", ".join(sorted(self._broker.get_all_tasks()))
        problem = f"this worker has no task {task_name!r}; it has: {known}"
        left = self.failed_runs.left_to_others(delivery, problem)
        if left is not None:
            delivery.outcome = left
            await self._consumer.settle(delivery)
            return
        await self._fail(delivery, UnknownTaskError(task_name=task_name))
        await self._settle_dead(delivery, self.failed_runs.buried(delivery, DeadLetterReason.UNKNOWN_TASK, problem))

    async def _set_aside(self, delivery: Delivery, task_name: str, held_by: str) -> None:
        """Let the message of a paused task, or of paused calls, wait until that is resumed."""
        logger.debug("Task %s with id %s waits, since it is paused", task_name, delivery.task_id)
        tried = delivery.fields.get("tried", "").split()
        delivery.outcome = Left(message=delivery.data, task_name=task_name, tried=tried, held_by=held_by)
        await self._consumer.settle(delivery)

    async def _bury_malformed(self, delivery: Delivery, detail: str) -> None:
        await self._settle_dead(delivery, Dead(reason=DeadLetterReason.MALFORMED, detail=detail, message=delivery.data))

    async def _bury_untrusted(self, delivery: Delivery, problem: str) -> None:
        """Tell its caller, who may be an honest one without the keys, unless a task of that id runs here."""
        message = self._envelope(delivery.data)
        if message is not None and self._consumer.in_flight.of_task(message.task_id) is None:
            self._consumer.in_flight.name(delivery, message)
            await self._fail(delivery, UntrustedTaskError(problem))
        outcome = Dead(reason=DeadLetterReason.UNTRUSTED, detail=problem, message=delivery.data)
        await self._settle_dead(delivery, outcome)

    def _envelope(self, data: bytes) -> TaskiqMessage | None:
        formatter = self._broker.formatter
        if not isinstance(formatter, JsonFormatter):
            return None
        try:
            message = formatter.envelope(data)
            _check_names(message)
        except ValueError:
            return None
        return message

    async def _bury_too_large(self, delivery: Delivery, problem: MessageTooLargeError) -> None:
        """Tell its caller, whose id and task's name stand in front of what is too large."""
        text = f"{problem} (TASKS_MESSAGE_BYTES, message_bytes)"
        message = beginning_of(delivery.data)
        if message is not None:
            self._consumer.in_flight.name(delivery, message)
            await self._fail(delivery, TaskTooLargeError(text))
        await self._settle_dead(delivery, Dead(reason=DeadLetterReason.TOO_LARGE, detail=text, message=delivery.data))

    async def _settle_dead(self, delivery: Delivery, outcome: Dead) -> None:
        last_line = outcome.detail.strip().splitlines()[-1]
        logger.error("A message cannot be run and is a dead letter (%s): %s", outcome.reason, last_line)
        delivery.outcome = outcome
        await self._consumer.settle(delivery)

    async def _fail(self, delivery: Delivery, error: BaseException) -> None:
        """Let a task's caller have an error, wherever results are kept."""
        result: TaskiqResult[Any] = TaskiqResult(is_err=True, return_value=None, execution_time=0.0, error=error)
        try:
            await self._broker.result_backend.set_result(delivery.task_id, result)
        except Exception as problem:  # noqa: BLE001  # whatever another result backend raises
            logger.error("The error of task %s could not be stored: %s", delivery.task_id, summary(problem))  # noqa: TRY400  # one line


def _check_names(message: TaskiqMessage) -> None:
    """Refuse what no sender of ours can have sent: it becomes a key, and stands in each line of the log.

    Raises:
        ValueError: its id or its task's name is too long.
    """
    longest = _longest_name(message)
    if longest > LONGEST_NAME:
        raise ValueError(f"its id or its task's name has {longest} bytes, {LONGEST_NAME} at most")


def _longest_name(message: TaskiqMessage) -> int:
    return max(len(message.task_id.encode()), len(message.task_name.encode()))
