"""What a user may set about delivery."""

import math
from dataclasses import dataclass, fields
from typing import Final, cast

from kiqstart.tasks.caller_types import shown
from kiqstart.tasks.errors import WiringError
from kiqstart.tasks.sizes import DEFAULT_BYTES, LARGEST_BYTES, MIB

_BOUNDED: Final = ("run_log_bytes", "message_bytes", "result_bytes")
_OPTIONAL: Final = ("queue_limit",)
_OFF_AT_ZERO: Final = ("runs_kept", "run_log_bytes")
# Of what Lua, and a server's clock in milliseconds, count without a gap.
_LARGEST: Final = 2**53 // 1000
# Failed runs are kept for so many times the others' age.
_FAILED_AGE: Final = 7


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """How a broker delivers.

    Args:
        lease: seconds without a sign of life after which a worker's tasks are given to others. It renews five times in
            that span, from a thread of its own.
        max_deliveries: worker crashes a task may be involved in before it is dead-lettered. The last of them counts
            only in quarantine: see `quarantine`. With 1, a task that was its worker's only one is dead-lettered.
        send_deadline: seconds for which a send, and a result that cannot be stored, is tried through an outage.
        dead_letter_age: seconds for which a dead letter is kept.
        dead_letter_limit: how many dead letters are kept; beyond it the oldest are dropped.
        dead_letter_bytes: how many bytes of Redis' memory they may take, about.
        runs_kept: how many ended runs are kept, to be looked at: so many that failed or became dead letters, and so
            many others. 0 keeps none.
        runs_age: seconds for which they are kept; failed ones seven times as long.
        runs_bytes: how many bytes of Redis' memory they may take together, about.
        run_log_bytes: how many bytes are kept of what a run has logged, the last lines of it. 0 keeps none.
        message_bytes: bytes of the largest message that is sent, and that a worker decodes; up to 64 MiB.
        result_bytes: bytes of the largest result and progress; up to 64 MiB.
        queue_limit: how many tasks a queue may hold, waiting and running, and how many may be delayed; a send beyond
            that fails with `QueueFullError`. None for any number.
        in_flight_bytes: how much memory messages and results may take, about, that a worker has in flight; beyond it,
            the worker reads no more until a task has ended. One message of any size is always read.
        cancel_age: seconds for which an id stays cancelled of which no task is known yet.
        cancel_limit: how many of these ids are kept.
        quarantine: whether a worker starts processes of their own for tasks whose workers have died repeatedly.
            Without, crashes are simply counted, also those that a task has nothing to do with.
        overrun_grace: seconds beyond its timeout after which a task that cannot be interrupted is reported.
        hook_timeout: seconds that one hook of a middleware may take when a task runs. Then it is cut off: before the
            task as if it had raised `TimeoutError`; after it, the task keeps its outcome.
        misfit_grace: seconds after which a task that a worker did not know, or whose arguments did not fit, is a dead
            letter if no worker was there that may run it; never less than two leases, whatever is set.
        replace_overrun: whether the worker process of such a task is then replaced; its other tasks are given back.

    Raises:
        WiringError: a value out of its range.
    """

    lease: float = 5.0
    max_deliveries: int = 3
    send_deadline: float = 30.0
    dead_letter_age: float = 7 * 24 * 3600.0
    dead_letter_limit: int = 10_000
    dead_letter_bytes: int = 256 * MIB
    runs_kept: int = 20_000
    runs_age: float = 24 * 3600.0
    runs_bytes: int = 64 * MIB
    run_log_bytes: int = 4096
    message_bytes: int = DEFAULT_BYTES
    result_bytes: int = DEFAULT_BYTES
    queue_limit: int | None = None
    in_flight_bytes: int = 64 * MIB
    cancel_age: float = 24 * 3600.0
    cancel_limit: int = 10_000
    quarantine: bool = True
    overrun_grace: float = 10.0
    hook_timeout: float = 60.0
    misfit_grace: float = 60.0
    replace_overrun: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        for field in fields(self):
            value: object = getattr(self, field.name)
            if value is None and field.name in _OPTIONAL:
                continue
            if type(value) is int and value == 0 and field.name in _OFF_AT_ZERO:
                continue
            problem = _problem(value, cast("type", field.type))
            if problem is not None:
                raise WiringError(f"StreamOptions: {field.name}={shown(value)} must be {problem}")
            if field.name in _BOUNDED and cast("int", value) > LARGEST_BYTES:
                raise WiringError(f"StreamOptions: {field.name}={value!r} must be at most {LARGEST_BYTES} (64 MiB)")

    @property
    def beat(self) -> float:
        """Seconds between two renewals of a worker's lease."""
        return self.lease / 5

    @property
    def failed_runs_age(self) -> float:
        """Seconds for which runs that failed are kept."""
        return self.runs_age * _FAILED_AGE

    @property
    def deaths_of_a_suspect(self) -> int:
        """Crashes after which a task is tried in quarantine."""
        return max(self.max_deliveries - 1, 1)


def _problem(value: object, kind: type) -> str | None:
    """What an option has to be, where it is not that."""
    if kind is bool:
        return None if isinstance(value, bool) else "True or False"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "a number"
    if kind is int and not isinstance(value, int):
        return "a whole number"
    if not 0 < value < math.inf:
        return "above 0"
    return None if value <= _LARGEST else f"at most {_LARGEST}"
