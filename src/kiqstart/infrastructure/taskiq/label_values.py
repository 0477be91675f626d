"""The labels of a message that decide how its task is run. A sender may put anything there, and none of it is an error.

A value that makes no sense counts as absent, with a warning; one that is out of all proportion is clamped.
"""

import math
from logging import getLogger
from typing import Final

from taskiq import TaskiqMessage
from taskiq.acks import AcknowledgeType, parse_acknowledge_type

logger = getLogger(__name__)

RETRIES_LABEL: Final = "retries"
TIMEOUT_LABEL: Final = "timeout"
_ACK_TYPE_LABEL: Final = "ack_type"

LONGEST_SECONDS: Final = 10 * 365 * 24 * 3600.0
_DEFAULT_MAX_DELAY: Final = 24 * 3600.0
_MOST_RETRIES: Final = 1_000_000
_LARGEST_FACTOR: Final = 1e6
# Every whole number up to here is a float.
_LARGEST_COUNT: Final = 2.0**53


def timeout_of(message: TaskiqMessage) -> float | None:
    """Seconds after which a run is cut off; None for no limit."""
    seconds = _number(message, TIMEOUT_LABEL, math.inf, at_most=LONGEST_SECONDS)
    if seconds <= 0:
        _warn(message, TIMEOUT_LABEL)
        return None
    return None if math.isinf(seconds) else seconds


def ack_type_of(message: TaskiqMessage, default: AcknowledgeType) -> AcknowledgeType:
    """When a message is acknowledged: as its label says; as `default` says where it has none."""
    value = message.labels.get(_ACK_TYPE_LABEL)
    if value is None:
        return default
    try:
        return parse_acknowledge_type(value)
    except ValueError:
        _warn(message, _ACK_TYPE_LABEL)
        return AcknowledgeType.WHEN_SAVED


def retries_of(message: TaskiqMessage) -> int:
    """How often a task has been tried again so far."""
    return int(_number(message, RETRIES_LABEL, 0, at_most=_MOST_RETRIES))


def max_retries_of(message: TaskiqMessage) -> int:
    """How often a task is tried again at most."""
    return int(_number(message, "max_retries", 0, at_most=_MOST_RETRIES))


def retry_delay_of(message: TaskiqMessage) -> float:
    """Seconds until the first retry."""
    return _number(message, "retry_delay", 0, at_most=LONGEST_SECONDS)


def retry_backoff_of(message: TaskiqMessage) -> float:
    """By what the delay is multiplied for each further retry."""
    return _number(message, "retry_backoff", 1, at_most=_LARGEST_FACTOR)


def retry_max_delay_of(message: TaskiqMessage) -> float:
    """The longest delay before a retry, in seconds."""
    return _number(message, "retry_max_delay", _DEFAULT_MAX_DELAY, at_most=LONGEST_SECONDS)


def retry_jitter_of(message: TaskiqMessage) -> float:
    """By what share (0 to 1) a delay is lengthened or shortened at random."""
    return _number(message, "retry_jitter", 0, at_most=1)


def count_of(message: TaskiqMessage, label: str) -> int:
    """A label in which a worker counts something; 0 without it."""
    return int(_number(message, label, 0, at_most=_LARGEST_COUNT))


def _number(message: TaskiqMessage, label: str, default: float, *, at_most: float) -> float:
    """A label's number from 0 to `at_most`; the default without the label, and for what is no number."""
    value: object = message.labels.get(label)
    if value is None:
        return default
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except OverflowError:
        number = math.inf
    except ValueError:
        number = math.nan
    if math.isnan(number) or number < 0:
        _warn(message, label)
        return default
    return min(number, at_most)


def _warn(message: TaskiqMessage, label: str) -> None:
    logger.warning(
        "Task %s with id %s: its label %s=%.100r makes no sense and is ignored",
        *(message.task_name, message.task_id, label, message.labels.get(label)),
    )
