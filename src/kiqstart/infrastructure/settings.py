"""Reading settings from the environment, with one line for whatever is wrong with them."""

from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from kiqstart.infrastructure.errors import OperatorError

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


class SettingsError(OperatorError):
    """A setting is missing or malformed."""


def load_settings(settings: type[SettingsT]) -> SettingsT:
    """Read `settings` from the environment and from `.env` in the working directory.

    Raises:
        SettingsError: naming each environment variable at fault, never its value (it may hold a password).
    """
    try:
        return settings()
    except ValidationError as error:
        problems = "; ".join(
            f"{_variable(settings, str(item['loc'][0]))} "
            + ("is not set" if item["type"] == "missing" else item["msg"].removeprefix("Value error, "))
            for item in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(f"settings: {problems} (.env.example describes every setting)") from None


def _variable(settings: type[BaseSettings], field: str) -> str:
    return f"{settings.model_config.get('env_prefix', '')}{field}".upper()
