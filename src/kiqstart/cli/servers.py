"""PostgreSQL and Redis for a command: those that are given, else the project's own."""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from kiqstart.app import App
from kiqstart.app_place import app_place, project_folder
from kiqstart.cli.application import application
from kiqstart.cli.signals import run_until_signal
from kiqstart.database.alembic_database import SchemaOutOfDateError
from kiqstart.local import LocalStackError, local_stack
from kiqstart.redis.settings import IN_MEMORY_URL
from kiqstart.retention.errors import RetentionSchemaError
from kiqstart.settings import load_settings


class GivenServers(BaseSettings):
    """The servers that the environment or `.env` names; an empty variable names none."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore")

    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None


@dataclass(frozen=True, kw_only=True)
class Servers:
    """The servers of a command, whose URLs are in the environment of this process and thus of its children.

    `redis_missing` says what to install where no Redis could be had and tasks run in memory.
    """

    database_is_local: bool
    redis_missing: str | None


@contextmanager
def servers(*, redis_required: bool = True) -> Generator[Servers]:
    """Start the servers that are not given, and set DATABASE_URL and REDIS_URL for this process and its children.

    Raises:
        LocalStackError: a server can be neither found nor started. Without Redis that is so only where it is required;
            else REDIS_URL becomes `memory://`.
    """
    given = load_settings(GivenServers)
    with local_stack(
        project_folder() / ".local" / "stack", postgres=given.database_url is None, redis=given.redis_url is None
    ) as stack:
        if stack.redis_missing and redis_required:
            raise LocalStackError(stack.redis_missing)
        os.environ["DATABASE_URL"] = stack.database_url or _text(given.database_url)
        os.environ["REDIS_URL"] = stack.redis_url or _text(given.redis_url) or IN_MEMORY_URL
        yield Servers(
            database_is_local=stack.database_url is not None,
            redis_missing=stack.redis_missing,
        )


def migrate_local(found: Servers, find_app: Callable[[], App | None] = application) -> None:
    """Bring the schema of the project's own database up to date; one that was given is never touched.

    Args:
        found: the servers that the command has.
        find_app: gives the application that has the schema; None where there is none to be had.
    """
    if found.database_is_local and app_place() is not None and (app := find_app()) is not None:
        run_until_signal(_migrate(app))


def _text(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


async def _migrate(app: App) -> None:
    try:
        if app.database is not None:
            await app.database.check()
        if app.retention is not None:
            await app.retention.engine.check_tables()
    except (SchemaOutOfDateError, RetentionSchemaError):
        await app.migrate()
    finally:
        await app.close()
