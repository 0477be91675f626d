"""What a caller may ask of a run."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypedDict, TypeGuard, TypeVar

from kiqstart.retention.errors import InvalidRunOptionError
from kiqstart.retention.progress import ProgressCallback

MAX_SHARDS: Final = 64
N = TypeVar("N", int, float)

# What PostgreSQL's bigint holds.
_MOST: Final = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class RunLimits:
    """After how many rows, and how many seconds from its beginning, a run stops; None for no limit."""

    rows: int | None = None
    seconds: float | None = None


class RunOptions(TypedDict, total=False):
    """What `RetentionEngine.run` takes beside the policy, for those who hand it on."""

    run_id: str | None
    limits: RunLimits | None
    shards: int
    invite: Callable[[int], Awaitable[None]] | None
    progress: ProgressCallback | None
    stop: asyncio.Event | None


def check_run_options(run_id: object, limits: RunLimits, shards: object) -> None:
    """Refuse what no run can have; not every caller's types are checked.

    Raises:
        InvalidRunOptionError: one is out of its range.
    """
    if run_id is not None and not (isinstance(run_id, str) and _is_storable(run_id)):
        raise InvalidRunOptionError(f"a run's id must be text that PostgreSQL can hold, not {run_id!a:.100}")
    check_count("shards", shards, least=1, most=MAX_SHARDS)
    if limits.rows is not None:
        check_count("the row limit", limits.rows, least=1)
    seconds: object = limits.seconds
    if seconds is not None and not (is_number(seconds, float) and seconds > 0):
        raise InvalidRunOptionError(f"the time budget must be above 0 seconds, not {seconds!r:.100}")


def check_count(name: str, value: object, *, least: int, most: int = _MOST) -> None:
    """Refuse what is no whole number of that range.

    Raises:
        InvalidRunOptionError: it is not.
    """
    if not (is_number(value, int) and least <= value <= most):
        wanted = f"from {least} to {most}" if most < _MOST else f"above {least - 1}"
        raise InvalidRunOptionError(f"{name} must be {wanted}, not {value!r:.100}")


def is_number(value: object, kind: type[N]) -> TypeGuard[N]:
    """Whether it is a number of that kind, and no truth value; each int is a float."""
    return isinstance(value, kind | int) and not isinstance(value, bool)


def _is_storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
