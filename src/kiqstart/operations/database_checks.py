"""What may be wrong with an application's database, and with the tables of its retention policies."""

from sqlalchemy.exc import DBAPIError

from kiqstart.app import App
from kiqstart.errors import OperatorError
from kiqstart.retention.errors import RetentionError


class RetentionCheckError(OperatorError):
    """The retention policies cannot be checked."""


async def check_postgresql(app: App) -> str:
    """PostgreSQL's version.

    Raises:
        OperatorError: it cannot be reached.
    """
    return await app.needs_database().version()


async def check_schema(app: App) -> str:
    """The revision of the schema.

    Raises:
        OperatorError: it is not the one that is needed, or a right is missing.
    """
    return await app.needs_database().check()


async def check_retention(app: App) -> str:
    """How many policies can be run.

    Raises:
        RetentionCheckError: that cannot be found out.
        OperatorError: one cannot be, or the engine's own tables are missing, behind or somebody else's.
    """
    policies = app.needs_retention()
    known = policies.all()
    try:
        await policies.engine.check(known)
    except RetentionError as error:
        raise OperatorError(str(error)) from None
    except (DBAPIError, OSError):
        raise RetentionCheckError("cannot be checked without PostgreSQL and its schema") from None
    return f"{len(known)} {'policy' if len(known) == 1 else 'policies'} can be run"


def said_by_database(error: Exception) -> str:
    """What an error says, in a line."""
    said = error.driver_exception if isinstance(error, DBAPIError) else error
    return str(said).strip().partition("\n")[0] or type(said).__name__
