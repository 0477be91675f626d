"""What the log says of the runs of kiqstart's receiver."""

from logging import DEBUG, ERROR, INFO
from typing import Final

from taskiq import TaskiqMessage

from kiqstart.broker.delivery import Delivery
from kiqstart.broker.run_stats import outcome_of
from kiqstart.clock import local_time
from kiqstart.observability.run_log import RUN_LOG, log_end, log_start
from kiqstart.observability.task_fields import bind_to_structlog
from kiqstart.tasks.errors import InvalidTaskArgumentsError
from kiqstart.tasks.label_values import RETRIES_LABEL, retries_of
from kiqstart.tasks.labels import DEFAULT_QUEUE, QUEUE_LABEL, SCHEDULE_ID_LABEL

INTERRUPTED: Final = "interrupted"
"""How a run ended that this worker has given back, or that is another worker's by now."""
LEFT: Final = "left"
"""How one ended that was left to workers of other versions."""


def delivery_starts(delivery: Delivery) -> None:
    """A delivery's task is about to run."""
    bind_to_structlog(delivery)
    if RUN_LOG.isEnabledFor(DEBUG):
        log_start(delivery, _fields_of_delivery(delivery))


def delivery_ends(delivery: Delivery) -> None:
    """A delivery's run is over, if it had one."""
    error, delivery.error = delivery.error, None
    began_at = delivery.began_at
    if began_at is None or not RUN_LOG.isEnabledFor(INFO if error is None else ERROR):
        return
    seconds = delivery.seconds or local_time() - began_at
    fields = {**_fields_of_delivery(delivery), "outcome": how_it_ended(delivery), "seconds": round(seconds, 6)}
    is_plain = isinstance(error, InvalidTaskArgumentsError) and error.task_name == delivery.task_name
    log_end(delivery, fields, error=error, problem=f"it does not take its arguments: {error}" if is_plain else "")


def how_it_ended(delivery: Delivery) -> str:
    """The outcome of a run that is over, in one word."""
    if not delivery.is_settled:
        return INTERRUPTED
    outcome = outcome_of(delivery)
    return LEFT if outcome is None else outcome.value


def message_fields(message: TaskiqMessage) -> dict[str, object]:
    """What a message says of its run: which try it is, the queue, and the schedule that has sent it."""
    labels = message.labels
    fields: dict[str, object] = {
        "task_name": message.task_name,
        "task_id": message.task_id,
        "try": retries_of(message) + 1 if RETRIES_LABEL in labels else 1,
        "queue": str(labels.get(QUEUE_LABEL, DEFAULT_QUEUE)),
    }
    if SCHEDULE_ID_LABEL in labels:
        fields["schedule"] = str(labels[SCHEDULE_ID_LABEL]).rpartition("@")[0]
    return fields


def _fields_of_delivery(delivery: Delivery) -> dict[str, object]:
    fields = {} if delivery.message is None else message_fields(delivery.message)
    return {**fields, "queue": delivery.queue, "worker": delivery.worker}
