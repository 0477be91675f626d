"""How to reach Redis."""

from typing import Final

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis.asyncio.connection import parse_url

IN_MEMORY_URL: Final = "memory://"


class RedisSettings(BaseSettings):
    """Environment variables of the connection to Redis."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    redis_url: SecretStr = Field(
        description="redis://[user:password@]host:6379/0, rediss:// for TLS, unix:///path/to/socket, or memory:// to "
        "run tasks inside the program that sends them, without Redis and without durability."
    )
    redis_connect_timeout: float = Field(
        default=5.0, gt=0, description="Seconds to wait for a connection before Redis counts as unreachable."
    )

    @field_validator("redis_url")
    @classmethod
    def _check_url(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        if url != IN_MEMORY_URL:
            try:
                parse_url(url)
            except ValueError:
                raise ValueError(
                    "is no URL of a Redis: write redis://host:6379/0, rediss://, unix:///path/to/socket or memory://"
                ) from None
        return value

    @property
    def is_in_memory(self) -> bool:
        """Whether tasks run in the sending process, without Redis."""
        return self.redis_url.get_secret_value() == IN_MEMORY_URL
