"""Options that `register_task` does not have: what was meant, and what to write."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

OPTIONS: Final = (
    "name",
    "queue",
    "max_retries",
    "retry_delay",
    "retry_backoff",
    "retry_max_delay",
    "retry_jitter",
    "retry_on",
    "acks_late",
    "timeout",
    "unique",
    "labels",
)
# Celery's, and taskiq's own.
_SAID_ELSEWHERE: Final = {
    "autoretry_for": "write retry_on=(SomeError,) and max_retries",
    "retry_for": "write retry_on=(SomeError,) and max_retries",
    "types_of_exceptions": "write retry_on=(SomeError,)",
    "bind": "give the method a parameter `context: Context = TaskiqDepends()` instead",
    "default_retry_delay": "write retry_delay",
    "delay": "write retry_delay, or send with `.kicker().after(seconds)`",
    "retry_backoff_max": "write retry_max_delay",
    "retry_on_error": "write max_retries",
    "retry_kwargs": "write max_retries and retry_delay",
    "use_jitter": "write retry_jitter, a share from 0 to 1",
    "use_delay_exponent": "write retry_backoff=2",
    "time_limit": "write timeout: an async task is cancelled then",
    "soft_time_limit": "write timeout: it raises in an async task, which can clean up",
    "rate_limit": "give the task a queue of its own, and its workers few slots (--max-async-tasks)",
    "ignore_result": "leave it out: results are small, and expire after TASKS_RESULT_TTL seconds",
    "ack_type": "write acks_late=True or False",
    "reject_on_worker_lost": "leave it out: a task whose worker dies is always run again",
    "serializer": "leave it out: messages are JSON",
    "schedule": "add a line to the table of schedules",
    "task_name": "write name",
    "queue_name": "write queue",
}


def option_problem(unknown: Iterable[str], labels: Iterable[str]) -> str | None:
    """What to write in place of an option that does not exist, or of a label that is one; None if all is well."""
    for option in unknown:
        return f"{option} is not an option here: {_advice(option)}"
    for label in labels:
        if label in OPTIONS or label in _SAID_ELSEWHERE:
            return f"labels={{{label!r}: …}} would set an option: {_SAID_ELSEWHERE.get(label, f'write {label}=…')}"
    return None


def _advice(option: str) -> str:
    if option in _SAID_ELSEWHERE:
        return _SAID_ELSEWHERE[option]
    if close := get_close_matches(option, OPTIONS, n=1):
        return f"did you mean `{close[0]}`?"
    return f"labels of your own go into labels={{{option!r}: …}}"
