"""What the engine's tables say, read for a command."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from sqlalchemy.exc import DBAPIError

from kiqstart.app import App
from kiqstart.cli.application import unconnected_application
from kiqstart.errors import OperatorError
from kiqstart.retention.errors import RetentionError


class NotReadError(OperatorError):
    """PostgreSQL is away, or the engine's tables are not there."""


@asynccontextmanager
async def checked_retention(what: str) -> AsyncGenerator[App]:
    """The application, whose database has the schema that its policies need; it is closed at the end.

    Raises:
        NotReadError: `what` cannot be read.
    """
    app = unconnected_application()
    app.needs_retention()
    try:
        if app.database is not None:
            await app.database.check()
        yield app
    except (RetentionError, DBAPIError, OSError) as error:
        raise NotReadError(f"{what} cannot be read: {' '.join(str(error).split())[:300]}") from None
    finally:
        await app.close()
