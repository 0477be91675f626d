"""What stands before every page: a login, a role, a token; and what is shown where a page cannot be."""

from collections.abc import Awaitable, Callable
from logging import getLogger
from traceback import format_exc

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from kiqstart.broker.redis_retry import reason
from kiqstart.dashboard.site import Site
from kiqstart.dashboard.visits import InvalidFormError, Visit
from kiqstart.errors import OperatorError
from kiqstart.observability.redaction import redact
from kiqstart.operations.database_checks import said_by_database
from kiqstart.redis.client import with_remedy
from kiqstart.retention.errors import RetentionError

logger = getLogger(__name__)

View = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


def for_all(site: Site, view: View) -> Endpoint:
    """A page that needs no login."""

    async def answer(request: Request) -> Response:
        visit = Visit.of(site, request)
        try:
            return await view(visit)
        except InvalidFormError as error:
            return problem(visit, 403, "Refused", str(error))
        except OperatorError as error:
            return problem(visit, 409, "That cannot be done", str(error))
        except RedisError as error:
            place = site.broker.connections.address
            return problem(visit, 503, "Redis cannot be used", f"{place}: {with_remedy(reason(error), error)}")
        except (SQLAlchemyError, RetentionError, OSError) as error:
            return problem(visit, 503, "A server cannot be used", said_by_database(error))
        except Exception:  # noqa: BLE001  # one page that fails is to show nothing of it, and to end nothing else
            logger.error("The page %s failed: %s", visit.path, redact(format_exc()))  # noqa: TRY400  # redacted
            return problem(visit, 500, "This page failed", "The dashboard's log says why.")

    return answer


def for_viewers(site: Site, view: View) -> Endpoint:
    """A page for whoever has logged in."""

    async def look(visit: Visit) -> Response:
        return visit.go("/login") if visit.session.role is None else await view(visit)

    return for_all(site, look)


def for_operators(site: Site, view: View) -> Endpoint:
    """A page for whoever may act."""

    async def look(visit: Visit) -> Response:
        if not visit.session.may_act:
            return problem(visit, 403, "Refused", "This login may look, and change nothing.")
        return await view(visit)

    return for_viewers(site, look)


def problem(visit: Visit, status: int, title: str, text: str) -> Response:
    """A page that says in a line what is wrong."""
    return visit.render("problem.html", status=status, title=title, text=text)
