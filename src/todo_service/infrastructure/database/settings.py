"""Where PostgreSQL is, and how to connect to it."""

from typing import Final

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from kiqstart import conceal
from kiqstart.retention import RetentionSettings
from todo_service.infrastructure.database.url import FORM, DatabaseUrl, parse_database_url

# What is never connected to needs no address.
_NOWHERE: Final = "postgresql://"


class DatabaseSettings(BaseSettings):
    """Settings of the database; the environment variables are the fields' names in upper case."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(
        default=None,
        description=f"PostgreSQL's address: {FORM}; without a host, `?host=/directory` names a Unix socket. "
        "`sslmode`, `sslrootcert`, `sslcert`, `sslkey` and `sslcrl` mean what they mean to libpq.",
    )
    database_pool_size: int = Field(
        default=10, ge=1, description="Connections that one process keeps open; twice as many at a peak."
    )
    database_connect_timeout: float = Field(
        default=5, gt=0, description="Seconds to wait for a connection before PostgreSQL counts as unreachable."
    )

    @field_validator("database_url")
    @classmethod
    def _names_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        url = parse_database_url(value.get_secret_value()).url
        conceal(url.password or "", beside=url.set(password=None).render_as_string())
        return value

    def parsed_url(self) -> DatabaseUrl:
        """Return the URL taken apart; without one, that of a database that nobody can connect to."""
        return parse_database_url(_NOWHERE if self.database_url is None else self.database_url.get_secret_value())


class RetentionEnvironment(RetentionSettings, BaseSettings):
    """The retention engine's settings as environment variables."""

    model_config = SettingsConfigDict(env_file=".env", env_prefix="RETENTION_", extra="ignore", frozen=True)


class SchemaSettings(BaseSettings):
    """Settings of the migrations; named like those of the database."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    database_version_table: str = Field(
        default="alembic_version",
        min_length=1,
        max_length=63,
        description="Table in which migrations keep the schema's version; another where another program's Alembic has "
        "`alembic_version`. Change it before the first `kiqstart migrate`.",
    )
