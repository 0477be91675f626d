"""The labels of a message that decide how its task is run.

A caller may set them for one call (`.kicker().with_labels(timeout=5)`), and one that makes no sense fails the send.
What comes to a worker may be anybody's, and none of it is an error: a value that makes no sense counts as absent, with
a warning, and one that is out of all proportion is clamped.
"""

import math
from collections.abc import Mapping
from logging import getLogger
from typing import Final, cast

from taskiq import TaskiqMessage
from taskiq.acks import AcknowledgeType, parse_acknowledge_type

from kiqstart.tasks.caller_types import shown

logger = getLogger(__name__)

RETRIES_LABEL: Final = "retries"
TIMEOUT_LABEL: Final = "timeout"
ACK_TYPE_LABEL: Final = "ack_type"

LONGEST_SECONDS: Final = 10 * 365 * 24 * 3600.0
_DEFAULT_MAX_DELAY: Final = 24 * 3600.0
_MOST_RETRIES: Final = 1_000_000
_LARGEST_FACTOR: Final = 1e6
# Every whole number up to here is a float.
_LARGEST_COUNT: Final = 2.0**53


# Labels that are numbers from 0 on, each with the largest.
_NUMBERS: Final[Mapping[str, float]] = {
    TIMEOUT_LABEL: LONGEST_SECONDS,
    RETRIES_LABEL: _MOST_RETRIES,
    "max_retries": _MOST_RETRIES,
    "retry_delay": LONGEST_SECONDS,
    "retry_backoff": _LARGEST_FACTOR,
    "retry_max_delay": LONGEST_SECONDS,
    "retry_jitter": 1,
}
# Of these, those that count.
_COUNTS: Final = frozenset({RETRIES_LABEL, "max_retries"})


def option_problem(labels: Mapping[str, object]) -> str | None:
    """Why a caller cannot set these labels; None if they make sense."""
    for name, value in labels.items():
        if value is None:
            continue
        if name == ACK_TYPE_LABEL and not _is_ack_type(value):
            return f"the label {name}={shown(value)} is no kind of acknowledgement"
        if name in _NUMBERS and (problem := number_problem(name, value)):
            return f"the label {problem}"
    return None


def number_problem(name: str, value: object) -> str | None:
    """Why an option of the name cannot be this number; None if it can."""
    most = _NUMBERS[name]
    number = math.nan if isinstance(value, bool) else _as_number(value)
    if not 0 <= number <= most:
        return f"{name}={shown(value)} is no number from 0 to {most:g}"
    if name == TIMEOUT_LABEL and not number:
        return f"{name}={shown(value)} leaves no time: write seconds above 0, or None for no limit"
    if name in _COUNTS and not number.is_integer():
        return f"{name}={shown(value)} is no whole number"
    return None


def timeout_of(message: TaskiqMessage) -> float | None:
    """Seconds after which a run is cut off; None for no limit."""
    seconds = _number(message, TIMEOUT_LABEL, math.inf)
    if seconds <= 0:
        _warn(message, TIMEOUT_LABEL)
        return None
    return None if math.isinf(seconds) else seconds


def ack_type_of(message: TaskiqMessage, default: AcknowledgeType) -> AcknowledgeType:
    """When a message is acknowledged: as its label says; as `default` says where it has none."""
    value = message.labels.get(ACK_TYPE_LABEL)
    if value is None:
        return default
    if _is_ack_type(value):
        return parse_acknowledge_type(value)
    _warn(message, ACK_TYPE_LABEL)
    return AcknowledgeType.WHEN_SAVED


def retries_of(message: TaskiqMessage) -> int:
    """How often a task has been tried again so far."""
    return int(_number(message, RETRIES_LABEL, 0))


def max_retries_of(message: TaskiqMessage) -> int:
    """How often a task is tried again at most."""
    return int(_number(message, "max_retries", 0))


def retry_delay_of(message: TaskiqMessage) -> float:
    """Seconds until the first retry."""
    return _number(message, "retry_delay", 0)


def retry_backoff_of(message: TaskiqMessage) -> float:
    """By what the delay is multiplied for each further retry."""
    return _number(message, "retry_backoff", 1)


def retry_max_delay_of(message: TaskiqMessage) -> float:
    """The longest delay before a retry, in seconds."""
    return _number(message, "retry_max_delay", _DEFAULT_MAX_DELAY)


def retry_jitter_of(message: TaskiqMessage) -> float:
    """By what share (0 to 1) a delay is lengthened or shortened at random."""
    return _number(message, "retry_jitter", 0)


def count_of(message: TaskiqMessage, label: str) -> int:
    """A label in which a worker counts something; 0 without it."""
    return int(_number(message, label, 0))


def _number(message: TaskiqMessage, label: str, default: float) -> float:
    """A label's number, within its bounds; the default without the label, and for what is no number."""
    value: object = message.labels.get(label)
    if value is None:
        return default
    number = _as_number(value)
    if math.isnan(number) or number < 0:
        _warn(message, label)
        return default
    return min(number, _NUMBERS.get(label, _LARGEST_COUNT))


def _as_number(value: object) -> float:
    try:
        return float(value) if isinstance(value, str | int | float) else math.nan
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def _is_ack_type(value: object) -> bool:
    try:
        parse_acknowledge_type(cast("str", value))
    except ValueError:
        return False
    return True


def _warn(message: TaskiqMessage, label: str) -> None:
    logger.warning(
        "Task %s with id %s: its label %s=%.100r makes no sense and is ignored",
        *(message.task_name, message.task_id, label, message.labels.get(label)),
    )
