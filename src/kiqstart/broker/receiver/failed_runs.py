"""What becomes of a delivery whose task could not be run, or not to its end."""

import asyncio
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from logging import getLogger

from taskiq import NoResultError
from taskiq.abc.formatter import TaskiqFormatter

from kiqstart.broker.delivery import DONE, Again, Dead, DeadLetterReason, Delivery, Left, Outcome
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.own_labels import POOL_CRASHES_LABEL, OwnLabels
from kiqstart.broker.receiver.misfit import TaskCall
from kiqstart.tasks.errors import ProcessLostError
from kiqstart.tasks.results.error_taming import tamed
from kiqstart.tasks.results.errors import TaskCancelledError, WorkerLostError

logger = getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What becomes of a failed run.

    Args:
        error: what its caller gets, and the middlewares hear of.
        outcome: of the delivery; None leaves that to the middlewares.
        is_retriable: whether a middleware's retry goes before that outcome.
    """

    error: BaseException
    outcome: Outcome | None = None
    is_retriable: bool = False

    @property
    def is_failure(self) -> bool:
        """Whether anybody is told of it: not where others are to try, who may well succeed."""
        return not isinstance(self.outcome, Again | Left)

    def applied(self, delivery: Delivery, error: BaseException | None) -> BaseException | None:
        """Give the delivery its outcome; returns the result's error, which was `error` after the middlewares."""
        is_retried = isinstance(delivery.outcome, Again)
        error = None if error is None else tamed(error)
        if self.outcome is not None and not (self.is_retriable and is_retried):
            delivery.outcome = self.outcome
            error = self.error
            if isinstance(error, NoResultError):
                # It asks for no result, but whoever waits for a dead letter's would wait for ever.
                error = RuntimeError(f"a middleware kept the task from being run: {error!r}")
        return NoResultError() if isinstance(delivery.outcome, Again | Left) else error


class FailedRuns:
    """Judges failed runs.

    Args:
        formatter: the broker's.
        options: how often and for how long others may try.
        shape_of: gives the shape of a task's function, None for a task that this worker does not have.
    """

    def __init__(
        self, formatter: TaskiqFormatter, options: StreamOptions, shape_of: Callable[[str], str | None]
    ) -> None:
        self._labels = OwnLabels(formatter)
        self._options = options
        self._shape_of = shape_of

    def judge(self, delivery: Delivery, error: BaseException, call: TaskCall | None) -> Verdict:
        """What becomes of a delivery.

        Args:
            delivery: the one whose run has failed.
            error: what was raised.
            call: the call of the task's function; None: a middleware has raised before it.
        """
        if delivery.is_cancelled:
            cancelled = TaskCancelledError(delivery.task_id)
            cancelled.__cause__ = None if isinstance(error, asyncio.CancelledError) else error
            return Verdict(error=cancelled, outcome=DONE)
        if call is None:
            return self._refused(delivery, error)
        if delivery.is_settled or delivery.is_early:
            return Verdict(error=error)
        if isinstance(error, ProcessLostError):
            return self._crashed(delivery)
        if call.did_not_fit(error):
            left = self.left_to_others(delivery, str(error))
            return Verdict(
                error=error, outcome=left or self.buried(delivery, DeadLetterReason.INVALID_ARGUMENTS, error)
            )
        return Verdict(error=error)

    def left_to_others(self, delivery: Delivery, problem: str) -> Left | None:
        """Let other workers try, who may be of another version; None where none may that lives."""
        name = delivery.message.task_name if delivery.message is not None else ""
        if not delivery.may_be_left:
            return None
        if not delivery.was_left:
            logger.warning(
                "Task %s with id %s is left to other workers, until for %g s none is there that may take it: %s",
                *(name, delivery.task_id, self._options.misfit_grace, problem),
            )
        tried, shape = delivery.fields.get("tried", "").split(), self._shape_of(name)
        if shape is not None and shape not in tried:
            tried.append(shape)
        return Left(message=delivery.data, task_name=name, tried=tried)

    def buried(self, delivery: Delivery, reason: DeadLetterReason, why: BaseException | str) -> Dead:
        """Make a dead letter of the message as it came."""
        detail = why if isinstance(why, str) else "".join(traceback.format_exception(tamed(why)))
        return Dead(reason=reason, detail=detail, message=self._labels.without(delivery.data))

    def kept_problem(self, verdict: Verdict) -> str:
        """What is kept of a run's error; nothing where it was cancelled, asked for no result, or was left to others."""
        is_none = isinstance(verdict.error, TaskCancelledError | NoResultError) or isinstance(verdict.outcome, Left)
        if is_none or not self._options.runs_kept:
            return ""
        return "".join(traceback.format_exception(tamed(verdict.error)))

    def _refused(self, delivery: Delivery, error: BaseException) -> Verdict:
        dead = self.buried(delivery, DeadLetterReason.MIDDLEWARE_FAILED, error)
        return Verdict(error=error, outcome=dead, is_retriable=True)

    def _crashed(self, delivery: Delivery) -> Verdict:
        times = self._labels.count(delivery.data, POOL_CRASHES_LABEL) + 1
        detail = f"the process of the pool that ran it has died {times} times"
        if times >= self._options.max_deliveries:
            dead = self.buried(delivery, DeadLetterReason.WORKER_LOST, detail)
            return Verdict(error=WorkerLostError(delivery.task_id), outcome=dead)
        logger.warning("Task %s runs again: %s", delivery.task_id, detail)
        message = self._labels.with_count(delivery.data, POOL_CRASHES_LABEL, times)
        return Verdict(error=NoResultError(), outcome=Again(message=message, is_first=True))


def is_expected(error: BaseException, delivery: Delivery) -> bool:
    """Whether an error is no failure of its run: it was cancelled, or is another worker's by now."""
    return isinstance(error, TaskCancelledError) or (isinstance(error, asyncio.CancelledError) and delivery.is_lost)
