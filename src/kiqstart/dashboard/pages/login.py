"""Logging in and out."""

import asyncio
import math

from starlette.responses import Response

from kiqstart.dashboard.passwords import PasswordHash
from kiqstart.dashboard.sessions import DashboardRole
from kiqstart.dashboard.site import Site
from kiqstart.dashboard.visits import Visit


async def login(visit: Visit) -> Response:
    """Ask for a name and a password, and begin a session."""
    site = visit.site
    if visit.session.role is not None:
        return visit.go("/")
    if not site.settings.has_password:
        return visit.render("login.html", status=403, problem="Log in at the proxy before this dashboard.", user="")
    if visit.request.method != "POST":
        return visit.render("login.html", problem="", user="")
    form = await visit.form()
    user, password = form.get("user", "").strip(), form.get("password", "")
    if not user:
        return visit.render("login.html", status=400, problem="Say your name, for the log of acts.", user="")
    async with site.passwords:
        return await _try(visit, user, password)


async def _try(visit: Visit, user: str, password: str) -> Response:
    site = visit.site
    seconds = math.ceil(site.limit.seconds_to_wait(visit.client))
    if seconds:
        problem = f"Too many wrong passwords. Try again in {seconds} s."
        response = visit.render("login.html", status=429, problem=problem, user=user)
        response.headers["retry-after"] = str(seconds)
        return response
    role = await asyncio.to_thread(_role, site, password)
    if role is None:
        site.limit.failed(visit.client)
        return visit.render("login.html", status=401, problem="The password is wrong.", user=user)
    return visit.go("/", session=site.sessions.begin(user, role))


async def logout(visit: Visit) -> Response:
    """End the session in this browser."""
    await visit.form()
    return visit.go("/login", session=visit.site.sessions.begin("", None))


def _role(site: Site, password: str) -> DashboardRole | None:
    settings = site.settings
    # Both are tried each time, so that how long it takes tells nothing.
    found = [
        role
        for role, secret in (
            (DashboardRole.ACT, settings.password_hash),
            (DashboardRole.VIEW, settings.viewer_password_hash),
        )
        if secret is not None and PasswordHash.parse(secret.get_secret_value()).fits(password)
    ]
    return found[0] if found else None
