"""How the dashboard lets people in."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from kiqstart.dashboard.passwords import PasswordHash

Network = IPv4Network | IPv6Network


class DashboardSettings(BaseSettings):
    """Environment variables of the dashboard; one way to log in has to be set."""

    model_config = SettingsConfigDict(env_prefix="KIQSTART_DASHBOARD_", env_file=".env", extra="ignore")

    password_hash: SecretStr | None = Field(
        default=None, description="Of the password of those who may act; `kiqstart dashboard hash-password` makes it."
    )
    viewer_password_hash: SecretStr | None = Field(
        default=None, description="Of the password of those who may only look."
    )
    proxy_header: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9-]{1,100}$",
        description="The header in which a proxy that has logged somebody in says who it is.",
    )
    proxy_addresses: Annotated[Sequence[Network], NoDecode] = Field(
        default=(), description="Addresses or networks of that proxy, with commas; from others the header is ignored."
    )
    proxy_operators: Annotated[Sequence[str], NoDecode] = Field(
        default=(), description="Who of those that the proxy names may act, with commas; `*` for all."
    )
    secret: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="What session cookies are signed with, 32 characters or more; unset, a random one of this process.",
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="Who sends it as `Authorization: Bearer …` may read `/metrics`; 32 characters or more.",
    )
    session_hours: float = Field(default=12.0, gt=0, le=24 * 30, description="Hours for which a login holds.")

    @field_validator("password_hash", "viewer_password_hash")
    @classmethod
    def _check_hash(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            PasswordHash.parse(value.get_secret_value())
        return value

    @field_validator("proxy_addresses", mode="before")
    @classmethod
    def _read_addresses(cls, value: object) -> object:
        return [ip_network(one) for one in _parts(value)] if isinstance(value, str) else value

    @field_validator("proxy_operators", mode="before")
    @classmethod
    def _read_names(cls, value: object) -> object:
        return _parts(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_ways_in(self) -> Self:
        if self.proxy_header and not self.proxy_addresses:
            raise ValueError(
                "KIQSTART_DASHBOARD_PROXY_HEADER needs KIQSTART_DASHBOARD_PROXY_ADDRESSES: else anybody could set it"
            )
        if not (self.has_password or self.proxy_header):
            raise ValueError(
                "the dashboard is served with a login only: set KIQSTART_DASHBOARD_PASSWORD_HASH to what "
                "`kiqstart dashboard hash-password` prints, or KIQSTART_DASHBOARD_PROXY_HEADER and …_PROXY_ADDRESSES"
            )
        return self

    @property
    def has_password(self) -> bool:
        """Whether somebody can log in with a password."""
        return self.password_hash is not None or self.viewer_password_hash is not None


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]
