"""What checks have found, for a page that shows all of it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from kiqstart.app import App
from kiqstart.broker.broker import StreamBroker
from kiqstart.errors import OperatorError
from kiqstart.operations.clean_ups import check_clean_ups
from kiqstart.operations.database_checks import check_postgresql, check_retention, check_schema, said_by_database
from kiqstart.settings import SettingsError

_SECONDS_FOR_AN_ANSWER: Final = 2.0


class NoAnswerError(OperatorError):
    """PostgreSQL does not answer, or not to what it was asked."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check has found.

    Args:
        is_set: whether this process has the settings that it needs.
    """

    name: str
    is_ok: bool
    text: str
    is_set: bool = True


async def find(name: str, check: Callable[[], Awaitable[str] | str]) -> Finding:
    """Make a check, or judge what was read already."""
    try:
        text = check()
        return Finding(name=name, is_ok=True, text=text if isinstance(text, str) else await text)
    except OperatorError as error:
        return Finding(name=name, is_ok=False, text=str(error), is_set=not isinstance(error, SettingsError))


def how_they_are(findings: Sequence[Finding]) -> Mapping[str, bool]:
    """Of each that could be looked at, whether all was well."""
    return {one.name: one.is_ok for one in findings if one.is_set}


async def look_at_database(app: App) -> Sequence[Finding]:
    """How PostgreSQL, the schema and the policies are; none of what the application does not have."""
    found: list[Finding] = []
    if app.database is not None:
        found.append(await find("PostgreSQL", partial(_in_time, check_postgresql, app)))
        if not found[0].is_ok:
            return found
        found.append(await find("Schema", partial(_in_time, check_schema, app)))
    if app.retention is not None:
        found.append(await find("Retention", partial(_in_time, check_retention, app)))
    return found


async def look_at_clean_ups(app: App, broker: StreamBroker) -> Sequence[Finding]:
    """Whether the policies' clean-ups come to their end; nothing where the application has no policies."""
    if app.retention is None:
        return []
    return [await find("Clean-ups", partial(check_clean_ups, broker, app.retention, sees_postgresql=True))]


async def _in_time(check: Callable[[App], Awaitable[str]], app: App) -> str:
    try:
        async with asyncio.timeout(_SECONDS_FOR_AN_ANSWER):
            return await check(app)
    except TimeoutError:
        raise NoAnswerError(f"PostgreSQL has not answered for {_SECONDS_FOR_AN_ANSWER:g} s") from None
    except (SQLAlchemyError, OSError) as error:
        raise NoAnswerError(said_by_database(error)) from None
