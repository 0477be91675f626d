"""Where PostgreSQL is, and how to connect to it."""

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from kiqstart.infrastructure.redaction import conceal

_SCHEMES = frozenset({"postgres", "postgresql", "postgresql+asyncpg"})
_SSL_MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
# What a URL's query may hold: asyncpg answers any other name with a TypeError.
_OPTIONS = frozenset({"host", "port", "ssl", "sslmode", "passfile", "target_session_attrs"})
_FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"


class DatabaseSettings(BaseSettings):
    """Settings of the database; the environment variables are the fields' names in upper case."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    database_url: SecretStr = Field(
        description=f"PostgreSQL's address: {_FORM}; without a host, `?host=/directory` names a Unix socket. "
        "`sslmode` is understood as libpq understands it."
    )
    database_pool_size: int = Field(
        default=10, ge=1, description="Connections that one process keeps open; twice as many at a peak."
    )
    database_connect_timeout: float = Field(
        default=5, gt=0, description="Seconds to wait for a connection before PostgreSQL counts as unreachable."
    )

    @field_validator("database_url")
    @classmethod
    def _names_postgresql(cls, value: SecretStr) -> SecretStr:
        url = _parse(value.get_secret_value())
        conceal(url.password or "", beside=url.set(password=None).render_as_string())
        return value

    def sqlalchemy_url(self) -> URL:
        """Return the URL for SQLAlchemy's asyncpg dialect."""
        return _parse(self.database_url.get_secret_value())


def _parse(text: str) -> URL:
    # No message repeats the text: it may hold a password, and in a malformed one nobody knows where.
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        raise ValueError(f"is not a URL: write {_FORM}") from None
    if "@" in (url.host or ""):
        raise ValueError("has an '@' in its password: write it as %40")
    if url.drivername not in _SCHEMES:
        raise ValueError(f"must name PostgreSQL: write {_FORM}")
    if unknown := sorted(url.query.keys() - _OPTIONS):
        raise ValueError(f"has an unknown option {unknown[0]!r} after '?': known are {', '.join(sorted(_OPTIONS))}")
    mode = url.query.get("sslmode", url.query.get("ssl"))
    if mode is None:
        return url.set(drivername="postgresql+asyncpg")
    if mode not in _SSL_MODES:
        raise ValueError(f"has an unknown sslmode: known are {', '.join(sorted(_SSL_MODES))}")
    return (
        url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode}).set(drivername="postgresql+asyncpg")
    )
