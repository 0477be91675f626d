"""The log of acts."""

from typing import Final

from starlette.responses import Response

from kiqstart.broker.acts import Acts
from kiqstart.dashboard.visits import Visit

_MOST_SHOWN: Final = 200


async def acts(visit: Visit) -> Response:
    """Show who did what, when and why; the newest first."""
    broker = visit.site.broker
    log = Acts(broker.connection.redis, broker.keys)
    found = await visit.site.looks.share("acts", lambda: log.newest(_MOST_SHOWN))
    return visit.render("acts.html", acts=found, most=_MOST_SHOWN)
