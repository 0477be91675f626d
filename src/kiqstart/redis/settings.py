"""How to reach Redis."""

from typing import Final

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from kiqstart.redis.connections import RedisConnections

IN_MEMORY_URL: Final = "memory://"


class RedisSettings(BaseSettings):
    """Environment variables of the connection to Redis."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    redis_url: SecretStr = Field(
        description="redis://[user:password@]host:6379/0, unix:///path/to/socket, "
        "sentinel://[user:password@]host1:26379,host2:26379/service/0 for the master that Sentinels name, "
        "cluster://[user:password@]host1:6379,host2:6379 for a cluster; rediss://, sentinels:// and clusters:// for "
        "TLS; or memory:// to run tasks inside the program that sends them, without Redis and without durability."
    )
    redis_connect_timeout: float = Field(
        default=5.0, gt=0, description="Seconds to wait for a connection before Redis counts as unreachable."
    )

    @field_validator("redis_url")
    @classmethod
    def _check_url(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        if url != IN_MEMORY_URL:
            RedisConnections(url)
        return value

    @property
    def address(self) -> str:
        """Where it is, for messages: no user, no password."""
        return IN_MEMORY_URL if self.is_in_memory else RedisConnections(self.redis_url.get_secret_value()).address

    @property
    def is_in_memory(self) -> bool:
        """Whether tasks run in the sending process, without Redis."""
        return self.redis_url.get_secret_value() == IN_MEMORY_URL
