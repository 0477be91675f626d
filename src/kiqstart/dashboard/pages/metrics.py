"""The figures for Prometheus: for whoever has logged in, and for a collector that has the token."""

from hmac import compare_digest

from starlette.responses import PlainTextResponse, Response

from kiqstart.dashboard.visits import Visit

_SCHEME = "bearer"


async def metrics(visit: Visit) -> Response:
    """Give them."""
    if visit.session.role is None and not _has_token(visit):
        return PlainTextResponse(
            "log in, or send the token of KIQSTART_DASHBOARD_METRICS_TOKEN\n",
            status_code=401,
            headers={"www-authenticate": "Bearer"},
        )
    body, content_type = await visit.site.metrics.text(visit.request.headers.get("accept", ""))
    return Response(body, media_type=content_type)


def _has_token(visit: Visit) -> bool:
    token = visit.site.settings.metrics_token
    scheme, _, said = visit.request.headers.get("authorization", "").partition(" ")
    if token is None or scheme.lower() != _SCHEME:
        return False
    return compare_digest(said.strip().encode(), token.get_secret_value().encode())
