"""Reading settings from the environment, with one line for whatever is wrong with them."""

import re
from pathlib import Path
from typing import Final, TypeVar, get_args

from pydantic import ValidationError
from pydantic_settings import BaseSettings
from pydantic_settings import SettingsError as MalformedSettingError

from kiqstart.errors import OperatorError
from kiqstart.trust import check_trusted

# As each class of settings names it.
_DOTENV: Final = Path(".env")

_QUOTED: Final = re.compile(r'"(\w+)"')

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


class SettingsError(OperatorError):
    """A setting is missing or malformed."""


def load_settings(settings: type[SettingsT]) -> SettingsT:
    """Read `settings` from the environment and from `.env` in the working directory.

    Raises:
        SettingsError: naming each environment variable at fault, never its value (it may hold a password).
        UntrustedPathError: another user can change `.env`.
    """
    # It says which servers are given passwords and tasks.
    has_file = _DOTENV.exists()
    if has_file:
        check_trusted(_DOTENV, advice="work in a folder of your own, without that .env")
    try:
        # One that somebody makes at this moment was not checked.
        return settings() if has_file else settings(_env_file=None)
    except MalformedSettingError as error:
        # It says of a list that it cannot be read, and not how it was written.
        name = next(iter(_QUOTED.findall(str(error))), "")
        raise SettingsError(f'settings: {_variable(settings, name)} is no JSON, such as ["one", "two"]') from None
    except RecursionError:
        raise SettingsError(
            f"settings: of {_variables(settings)} one is JSON of too many levels, such as no list needs"
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"settings: {_DOTENV.absolute()} is no UTF-8 text") from None
    except OSError as error:
        raise SettingsError(f"settings: {_DOTENV.absolute()} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        problems = "; ".join(
            _problem(settings, item["loc"], "is not set" if item["type"] == "missing" else item["msg"])
            for item in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(f"settings: {problems} (.env.example describes every setting)") from None


def _problem(settings: type[BaseSettings], location: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    if not location:
        # A rule about several settings, which its message names.
        return message
    return f"{_variable(settings, location[0])} {message}"


def _variables(settings: type[BaseSettings]) -> str:
    """Those that are read as JSON: whose type has parts."""
    return ", ".join(
        _variable(settings, name) for name, one in settings.model_fields.items() if get_args(one.annotation)
    )


def _variable(settings: type[BaseSettings], field: int | str) -> str:
    return f"{settings.model_config.get('env_prefix', '')}{field}".upper()


def check_settings(*settings: type[BaseSettings]) -> None:
    """Read all of them, so that one line names whatever is wrong.

    Raises:
        SettingsError: naming each environment variable at fault.
    """
    problems: list[str] = []
    for one in settings:
        try:
            load_settings(one)
        except SettingsError as error:
            problems.append(str(error))
    if problems:
        raise SettingsError("; ".join(problems))
