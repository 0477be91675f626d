"""Whether clean-ups come to their end."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from kiqstart.broker.broker import StreamBroker
from kiqstart.errors import OperatorError
from kiqstart.metrics.policies import names_of, read_policies
from kiqstart.operations.retention_policies import last_success
from kiqstart.operations.schedule_wording import shown_seconds
from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.errors import RetentionError
from kiqstart.retention.history import PastRun
from kiqstart.retention.policies import RetentionPolicies

STALE_AFTER: Final = timedelta(days=2)
"""As with the alerts KiqstartRetentionStale and KiqstartRetentionNever."""
_MOST_RUNS: Final = 50
_SECONDS_FOR_AN_ANSWER: Final = 2.0


class StaleCleanUpsError(OperatorError):
    """For long no clean-up has gone through all rows of a policy."""


async def check_clean_ups(
    broker: StreamBroker, retention: RetentionPolicies, *, sees_postgresql: bool, now: datetime | None = None
) -> str:
    """Whether of each policy all rows were gone through of late.

    Args:
        broker: its Redis has what workers have counted.
        retention: the policies.
        sees_postgresql: whether its history of runs may be asked of policies of which Redis knows no late success.
        now: for tests.

    Raises:
        StaleCleanUpsError: of one they were not for two days.
        RedisError: Redis is away.
    """
    now = now or datetime.now(UTC)
    names = names_of(retention)
    stats = {one.policy: one for one in await read_policies(broker, names)}
    successes = {name: _time(stats[name].last_success) for name in names}
    late = [name for name, success in successes.items() if success is None or now - success > STALE_AFTER]
    histories = await _histories(retention.engine, late if sees_postgresql else ())
    stale, unknown = list[str](), list[str]()
    for name in late:
        runs = histories.get(name, ())
        success = max(filter(None, (successes[name], last_success(runs))), default=None)
        since = success or min((one.started_at for one in runs if one.started_at is not None), default=None)
        if since is not None and now - since > STALE_AFTER:
            stale.append(_said(name, now - since, has_ended=success is not None))
        elif success is None:
            unknown.append(repr(name))
    if stale:
        raise StaleCleanUpsError(f"{'; '.join(stale)}; `kiqstart retention history` says how they ended")
    done = f"all rows of {len(names) - len(unknown)} of {len(names)} policies were gone through within two days"
    return f"{done}; of {', '.join(unknown)} no such clean-up is known yet" if unknown else done


async def _histories(engine: RetentionEngine, names: Sequence[str]) -> Mapping[str, Sequence[PastRun]]:
    found = dict[str, Sequence[PastRun]]()
    try:
        async with asyncio.timeout(_SECONDS_FOR_AN_ANSWER):
            for name in names:
                found[name] = await engine.history(name, limit=_MOST_RUNS)
    except (RetentionError, SQLAlchemyError, OSError):
        # The checks of PostgreSQL and of the schema say why.
        return found
    return found


def _time(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None


def _said(name: str, since: timedelta, *, has_ended: bool) -> str:
    ago = shown_seconds(since.total_seconds())
    if has_ended:
        return f"the last clean-up by {name!r} that went through all rows was {ago} ago"
    return f"no clean-up by {name!r} has gone through all rows since the first that is known, {ago} ago"
