"""What was counted of retention policies, and of which there are figures before any of them has run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from logging import getLogger
from typing import TYPE_CHECKING

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.redis_text import text_of_name, whole_number
from kiqstart.retention.count_names import BACKLOG, BATCHES, LAST_SUCCESS, MICROSECONDS, ROWS, RUNS

if TYPE_CHECKING:
    from kiqstart.retention.policies import RetentionPolicies

logger = getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PolicyStats:
    """What all workers together have counted of a retention policy.

    Args:
        seconds: that its batches took.
        runs: how many ended, by why.
        backlog: rows that were left, by estimate, after its latest batch; None where none is known.
        last_success: when a run last went through all rows, in seconds since the Unix epoch; 0.0 where none is known.
    """

    policy: str
    rows: int = 0
    batches: int = 0
    seconds: float = 0.0
    runs: Mapping[str, int] = field(default_factory=dict[str, int])
    backlog: int | None = None
    last_success: float = 0.0


def names_of(retention: "RetentionPolicies | None") -> list[str]:
    """Their names; none where the application has none, or cannot say."""
    try:
        return [] if retention is None else [one.name for one in retention.all()]
    except Exception as error:  # noqa: BLE001  # the application's own code
        logger.warning("The retention policies cannot be named: %s: %s", type(error).__name__, error)
        return []


async def read_policies(broker: StreamBroker, known: Sequence[str]) -> list[PolicyStats]:
    """Of those that have ever run, and of those that are known.

    Raises:
        RedisError: Redis is away.
    """
    by_policy: dict[str, dict[str, str]] = {name: {} for name in known}
    for raw, value in (await broker.connection.redis.hgetall(broker.keys.retention_stats)).items():
        name, _, what = text_of_name(raw).rpartition("\n")
        by_policy.setdefault(name, {})[what] = value.decode(errors="replace")
    return [_policy_stats(name, by_policy[name]) for name in sorted(by_policy)]


def _policy_stats(name: str, found: Mapping[str, str]) -> PolicyStats:
    return PolicyStats(
        policy=name,
        rows=whole_number(found.get(ROWS), 0),
        batches=whole_number(found.get(BATCHES), 0),
        seconds=whole_number(found.get(MICROSECONDS), 0) / 1e6,
        runs={what.removeprefix(RUNS): whole_number(count, 0) for what, count in sorted(found.items()) if RUNS in what},
        backlog=None if BACKLOG not in found else whole_number(found[BACKLOG], 0),
        last_success=float(whole_number(found.get(LAST_SUCCESS), 0)),
    )
