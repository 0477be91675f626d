"""Workers."""

from typing import Final

from starlette.responses import Response

from kiqstart.broker.fleet import read_workers
from kiqstart.broker.lost_workers import read_lost_workers
from kiqstart.dashboard.visits import Visit
from kiqstart.operations.fleet import said_of_state, state_of
from kiqstart.operations.progress import said_of_progress

_MOST_RUNNING: Final = 200


async def workers(visit: Visit) -> Response:
    """Show who lives, where, what each has, what runs, and who died."""
    broker = visit.site.broker
    seen = await visit.site.looks.share("workers", lambda: read_workers(broker))
    lost = await visit.site.looks.share("lost workers", lambda: read_lost_workers(broker))
    running = [(worker, task) for worker in seen for task in worker.running]
    running.sort(key=lambda pair: pair[1].began)
    return visit.render(
        "workers.html",
        workers=seen,
        state_of=state_of,
        said_of_state=said_of_state,
        running=running[:_MOST_RUNNING],
        lost=lost,
        said_of_progress=said_of_progress,
    )
