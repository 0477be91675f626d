"""The dashboard as an ASGI application."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Lifespan
from taskiq import AsyncBroker

from kiqstart.app import App
from kiqstart.broker.run_index import RunIndex
from kiqstart.dashboard.guards import Endpoint, for_all, for_operators, for_viewers, problem
from kiqstart.dashboard.headers import SecurityHeaders
from kiqstart.dashboard.latest import Latest
from kiqstart.dashboard.pages.acts import acts
from kiqstart.dashboard.pages.dead import dead, dead_pages, letter
from kiqstart.dashboard.pages.login import login, logout
from kiqstart.dashboard.pages.metrics import metrics
from kiqstart.dashboard.pages.overview import overview
from kiqstart.dashboard.pages.queues import pausing_pages, queues
from kiqstart.dashboard.pages.resending import resend_page
from kiqstart.dashboard.pages.retention import retention, retention_pages
from kiqstart.dashboard.pages.runs import cancel_page, runs, task_runs
from kiqstart.dashboard.pages.schedules import schedule_pages, schedules
from kiqstart.dashboard.pages.workers import workers
from kiqstart.dashboard.policy_standings import read_standings
from kiqstart.dashboard.proxy import Proxy
from kiqstart.dashboard.sessions import Sessions
from kiqstart.dashboard.settings import DashboardSettings
from kiqstart.dashboard.site import Site, make_templates, read_assets
from kiqstart.dashboard.streams import Streams
from kiqstart.dashboard.visits import Visit
from kiqstart.metrics.page import MetricsPage
from kiqstart.metrics.policies import names_of
from kiqstart.operations.brokers import broker_of
from kiqstart.operations.findings import how_they_are, look_at_clean_ups, look_at_database
from kiqstart.operations.letter_index import LetterIndex
from kiqstart.settings import load_settings

# PostgreSQL is asked by one page at a time, however many people look; estimates cost a plan for each policy.
_SECONDS_BETWEEN_LOOKS: Final = 10.0
_SECONDS_BETWEEN_ESTIMATES: Final = 30.0


def create_dashboard(app: App | AsyncBroker, settings: DashboardSettings | None = None) -> ASGIApp:
    """Make the dashboard of an application, to be served by itself or mounted in another ASGI application.

    Served by itself, it closes the application's connections when it ends; mounted, it leaves them to its host.

    Args:
        app: the application, or a bare broker.
        settings: how people log in; None reads the environment and `.env`.

    Raises:
        OperatorError: no login is set, a setting is malformed, or the broker keeps no queues.
    """
    return make_dashboard(app, settings)


def make_dashboard(
    app: App | AsyncBroker, settings: DashboardSettings | None = None, *, streams: Streams | None = None
) -> ASGIApp:
    """Make the dashboard for a server that closes its streams when it ends; None for one without any.

    Raises:
        OperatorError: no login is set, a setting is malformed, or the broker keeps no queues.
    """
    app = app if isinstance(app, App) else App(broker=app)
    settings = settings or load_settings(DashboardSettings)
    broker = broker_of(app)
    database = Latest(lambda: look_at_database(app), seconds=_SECONDS_BETWEEN_LOOKS)

    async def how_the_database_is() -> Mapping[str, bool]:
        return how_they_are(await database.get())

    site = Site(
        app=app,
        broker=broker,
        settings=settings,
        sessions=Sessions(settings),
        proxy=Proxy(settings),
        templates=make_templates(),
        assets=read_assets(),
        has_streams=streams is not None,
        metrics=MetricsPage(broker=broker, policies=names_of(app.retention), look=how_the_database_is),
        run_index=RunIndex(broker.keys, broker.secrets),
        letter_index=LetterIndex(broker),
        database=database,
        clean_ups=Latest(lambda: look_at_clean_ups(app, broker), seconds=_SECONDS_BETWEEN_LOOKS),
        policies=Latest(lambda: read_standings(app), seconds=_SECONDS_BETWEEN_ESTIMATES),
    )
    return SecurityHeaders(
        Starlette(
            routes=_routes(site, streams),
            exception_handlers={HTTPException: _refusal(site)},
            lifespan=_closing(site),
        )
    )


def _routes(site: Site, streams: Streams | None) -> list[Route]:
    views = {
        "/": overview,
        "/queues": queues,
        "/workers": workers,
        "/schedules": schedules,
        "/runs": runs,
        "/runs/task": task_runs,
        "/dead": dead,
        "/dead/letter": letter,
        "/acts": acts,
    }
    of_policies = [] if site.app.retention is None else retention_pages()
    if site.app.retention is not None:
        views["/retention"] = retention
    looks = {path: for_viewers(site, view) for path, view in views.items()}
    if streams is not None:
        looks = {path: streams.live(look) for path, look in looks.items()}
    return [
        Route("/login", for_all(site, login), methods=["GET", "POST"]),
        Route("/logout", for_viewers(site, logout), methods=["POST"]),
        Route("/static/{name}", _static(site)),
        Route("/metrics", for_all(site, metrics)),
        *(Route(path, look) for path, look in looks.items()),
        *(
            Route(page.path, for_operators(site, page), methods=["GET", "POST"])
            for page in (*pausing_pages(), *schedule_pages(), *dead_pages(), cancel_page(), resend_page(), *of_policies)
        ),
    ]


def _static(site: Site) -> Endpoint:
    async def answer(request: Request) -> Response:
        asset = site.assets.get(request.path_params["name"])
        if asset is None:
            raise HTTPException(404)
        headers = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(asset.content, media_type=asset.media_type, headers=headers)

    return answer


def _refusal(site: Site) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return problem(Visit.of(site, request), status, "Not here", "There is no such page.")

    return answer


def _closing(site: Site) -> Lifespan[Starlette]:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        yield
        await site.run_index.close()
        await site.broker.shutdown()
        await site.app.close()

    return lifespan
