"""Retention engines with settings of a test's own."""

from dataclasses import dataclass
from typing import Self

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.load import LoadCheck, PostgresLoad
from kiqstart.retention.settings import RetentionSettings


class ExplicitSettings(RetentionSettings):
    """The defaults and what the test says, whatever the environment and a `.env` file say."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @classmethod
    def of(cls, **values: float | str) -> Self:
        return cls.model_validate(values)


@dataclass(frozen=True)
class EngineFactory:
    """Makes engines on the test's database: `make_retention(batch_rows=30)`."""

    sessions: async_sessionmaker[AsyncSession]

    def __call__(self, *, load: LoadCheck | None = None, **settings: float | str) -> RetentionEngine:
        values = ExplicitSettings.of(**settings)
        return RetentionEngine(_sessions=self.sessions, _settings=values, _load=load or PostgresLoad(_settings=values))
