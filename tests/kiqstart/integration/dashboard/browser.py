"""A browser, as far as the dashboard's pages need one."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from html import unescape
from html.parser import HTMLParser
from typing import Any, Final

import httpx
from pydantic import SecretStr

from kiqstart.app import App
from kiqstart.broker.broker import StreamBroker
from kiqstart.dashboard import DashboardSettings, create_dashboard
from kiqstart.dashboard.passwords import hash_password

OPERATOR: Final = "operator's password"
VIEWER: Final = "viewer's password"
HASH: Final = hash_password(OPERATOR)
VIEWER_HASH: Final = hash_password(VIEWER)
_TOKEN: Final = re.compile(r'name="token" value="([0-9a-f]+)"')
_HIDDEN: Final = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


class Browser:
    """Keeps cookies and sends forms.

    Args:
        client: sends requests to a dashboard.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Load a page."""
        return await self.client.get(path, headers=headers)

    async def submit(self, path: str, /, **fields: str) -> httpx.Response:
        """Load a page with a form, fill it in, send it, and follow where it leads."""
        page = await self.get(path)
        hidden = {name: unescape(value) for name, value in _HIDDEN.findall(page.text)}
        return await self.client.post(path, data={**hidden, **fields}, follow_redirects=True)

    async def log_in(self, password: str = OPERATOR, user: str = "ada") -> httpx.Response:
        """Log in."""
        return await self.submit("/login", user=user, password=password)

    async def token(self, path: str) -> str:
        """The token of a page's form."""
        found = _TOKEN.search((await self.get(path)).text)
        assert found is not None, path
        return found[1]


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002  # the parser's
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def text_of(page: httpx.Response) -> str:
    """What somebody reads on a page."""
    parser = _Text()
    parser.feed(page.text)
    return " ".join(" ".join(parser.parts).split())


def tags_of(page: httpx.Response) -> list[str]:
    """The tags of a page, in their order."""
    parser = _Text()
    parser.feed(page.text)
    return parser.tags


def settings(**changes: Any) -> DashboardSettings:  # noqa: ANN401  # of any setting
    """Settings with both passwords."""
    passwords = {"password_hash": SecretStr(HASH), "viewer_password_hash": SecretStr(VIEWER_HASH)}
    return DashboardSettings.model_validate({**passwords, **changes})


@asynccontextmanager
async def browsing(
    app: App | StreamBroker, used: DashboardSettings | None = None, *, peer: str = "10.0.0.9", base: str = "http://site"
) -> AsyncGenerator[Browser]:
    """Open a browser at the dashboard of an application."""
    transport = httpx.ASGITransport(create_dashboard(app, used or settings()), client=(peer, 50000))
    async with httpx.AsyncClient(transport=transport, base_url=base) as client:
        yield Browser(client)
