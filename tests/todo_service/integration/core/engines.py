"""Retention engines with settings of a test's own."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.load import LoadCheck
from kiqstart.retention.settings import RetentionSettings


@dataclass(frozen=True)
class EngineFactory:
    """Makes engines on the test's database: `make_retention(batch_rows=30)`."""

    sessions: async_sessionmaker[AsyncSession]

    def __call__(self, *, load: LoadCheck | None = None, **settings: float | str) -> RetentionEngine:
        return RetentionEngine(self.sessions, settings=RetentionSettings.model_validate(settings), load=load)
