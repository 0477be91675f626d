"""Retention engines with small batches and short waits."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.policy import PaceKind
from kiqstart.retention.settings import RetentionSettings

_QUICK: Final = RetentionSettings.model_construct(
    # Nobody is to be spared here, and rests would only make the tests slow.
    pace=PaceKind.FULL,
    # Time enough for a batch on a busy machine.
    batch_seconds=2.0,
    batch_rows=10,
    lock_timeout=0.05,
    locked_wait=0.0,
    reconnect_wait=20.0,
    takeover_after=15.0,
    # Each run of the tests counts the rows that cannot go.
    retry_failed_after=0.0,
)


def quick_settings(**settings: float) -> RetentionSettings:
    """Settings for small tables; those that are named are not validated."""
    return _QUICK.model_copy(update=settings)


def retention_engine(sessions: async_sessionmaker[AsyncSession], settings: RetentionSettings) -> RetentionEngine:
    """Make an engine that heeds the real load."""
    return RetentionEngine(sessions, settings=settings)
