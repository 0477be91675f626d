"""Workers."""

from starlette.responses import Response

from kiqstart.broker.fleet import read_workers
from kiqstart.dashboard.visits import Visit
from kiqstart.operations.fleet import state_of


async def workers(visit: Visit) -> Response:
    """Show who lives, where, and what each has."""
    broker = visit.site.broker
    seen = await visit.site.looks.share("workers", lambda: read_workers(broker))
    return visit.render("workers.html", workers=seen, state_of=state_of)
