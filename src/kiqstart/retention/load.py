"""When a run should wait for others."""

from dataclasses import dataclass
from logging import getLogger
from time import monotonic
from typing import Final, Protocol

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.settings import RetentionSettings

logger = getLogger(__name__)

# A replica answers every 10 s at least (wal_receiver_status_interval), so a longer silence is a lag too. A role without
# pg_monitor sees that there are replicas, but neither their lag nor what others wait for: NULL then. By the functions
# behind the views, whose joins take longer to plan than all else.
_LOAD: Final = text("""
SELECT
    (SELECT extract(epoch FROM max(greatest(replay_lag, clock_timestamp() - reply_time - interval '10 s')))::float
     FROM pg_stat_get_wal_senders() JOIN pg_stat_get_activity(NULL) USING (pid)
     WHERE application_name <> ALL(CAST(:ignored AS text[]))) AS replica_lag,
    (SELECT count(*) FROM pg_stat_get_activity(NULL)
     WHERE datid = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()) AS lock_waiters
""")


class LoadCheck(Protocol):
    """Tells whether a run should wait. It is asked about once a second, between batches."""

    async def reason_to_wait(self, connection: AsyncConnection) -> str | None:
        """Return what the run should wait for, in a few words, or None to go on."""
        ...


@dataclass(frozen=True, kw_only=True)
class PostgresLoad:
    """Waits while a replica lags too far behind, or while too many others wait for locks."""

    settings: RetentionSettings

    async def reason_to_wait(self, connection: AsyncConnection) -> str | None:
        """Look at `pg_stat_replication` and `pg_stat_activity`, as far as the role may see them."""
        load = (await connection.execute(_LOAD, {"ignored": self.settings.ignored_replicas})).one()
        if load.replica_lag is not None and load.replica_lag > self.settings.max_replica_lag:
            return f"a replica that is {load.replica_lag:.1f} s behind"
        if load.lock_waiters > self.settings.max_lock_waiters:
            return f"{load.lock_waiters} connections that wait for locks"
        return None


@dataclass(kw_only=True)
class LoadGate:
    """Asks a check at most once a second, and says when a run begins and ceases to wait."""

    check: LoadCheck
    seconds_between: float = 1.0
    _next: float = float("-inf")
    _is_waiting: bool = False

    @property
    def is_due(self) -> bool:
        """Whether it is time to ask."""
        return monotonic() >= self._next

    async def ask(self, connection: AsyncConnection, policy: str) -> str | None:
        """Return what the policy's run should wait for, or None."""
        reason = await self.check.reason_to_wait(connection)
        # While it waits, the run itself keeps the distance.
        self._next = monotonic() + (self.seconds_between if reason is None else 0)
        if (reason is not None) is not self._is_waiting:
            self._is_waiting = reason is not None
            if reason:
                logger.warning("%s: waits for %s", policy, reason)
            else:
                logger.info("%s: goes on", policy)
        return reason
