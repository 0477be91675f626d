"""One request: who asks for what, and the page that answers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from kiqstart.dashboard.sessions import Session
from kiqstart.dashboard.site import Site, address

_MOST_FIELDS: Final = 20
# A task may take as many arguments, and more is no form of a page.
_MOST_FIELDS_OF_A_FORM: Final = 300
_LARGEST_FORM: Final = 64 * 1024
_LONGEST_SAID: Final = 400


class InvalidFormError(Exception):
    """What was sent is no form of a page."""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A request.

    Args:
        cookie: the session as the browser is to keep it.
        session: who that is; what a proxy says counts for this request only.
        is_new: whether the browser does not have the cookie yet.
    """

    site: Site
    request: Request
    cookie: Session
    session: Session
    is_new: bool

    @classmethod
    def of(cls, site: Site, request: Request) -> "Visit":
        """Find out who asks."""
        known = site.sessions.read(request.cookies.get(site.cookie, ""))
        user = site.proxy.user(request)
        if user:
            is_known = known is not None and known.user == user and known.role is None
            cookie = known if known is not None and is_known else site.sessions.begin(user, None)
            session = replace(cookie, role=site.proxy.role(user))
        else:
            cookie = session = known or site.sessions.begin("", None)
        return cls(site=site, request=request, cookie=cookie, session=session, is_new=cookie is not known)

    @property
    def base(self) -> str:
        """Where the dashboard is mounted; '' for a server of its own."""
        return str(self.request.scope.get("root_path", ""))

    @property
    def path(self) -> str:
        """The page, below the base."""
        return str(self.request.scope["path"]).removeprefix(self.base) or "/"

    @property
    def query(self) -> Mapping[str, str]:
        """What the address names, each as it is in Redis."""
        return _pairs(self.request.scope["query_string"])

    @property
    def is_part(self) -> bool:
        """Whether a page asks for parts of itself."""
        headers = self.request.headers
        return "hx-request" in headers or "text/event-stream" in headers.get("accept", "")

    @property
    def client(self) -> str:
        """The browser's address."""
        return self.site.proxy.address(self.request)

    async def form(self) -> Mapping[str, str]:
        """What was sent, once its token is checked.

        Raises:
            InvalidFormError: it is too large, no form, or not of a page of this session.
        """
        body = b""
        async for part in self.request.stream():
            body += part
            if len(body) > _LARGEST_FORM:
                raise InvalidFormError("what was sent is too large")
        fields = _pairs(body, most=_MOST_FIELDS_OF_A_FORM)
        if not self.site.sessions.has_token(self.cookie, fields.get("token", "")):
            raise InvalidFormError("this form is of another session: go back, load the page again, and try once more")
        return fields

    def render(self, template: str, /, *, status: int = 200, **values: object) -> Response:
        """A page."""
        page = self.site.templates.get_template(template).render(
            values
            | {
                "base": self.base,
                "path": self.path,
                "here": address(self.base + self.path, **self.query),
                "menu": self.site.menu,
                "session": self.session,
                "is_login_by_proxy": self.cookie.role is None,
                "token": self.site.sessions.token(self.cookie),
                "assets": self.site.assets,
                "service": self.site.broker.keys.tag,
                "link": self.link,
                "said": "" if self.is_part else self.cookie.said,
                "has_password": self.site.settings.has_password,
                "has_streams": self.site.has_streams,
                "status": status,
                "is_read": self.request.method != "POST",
            }
        )
        response = HTMLResponse(page, status_code=status)
        if not self.is_part and (self.cookie.said or self.is_new):
            self._set_cookie(response, replace(self.cookie, said=""))
        return response

    def link(self, path: str, **names: str) -> object:
        """The address of another page, for an attribute."""
        return address(self.base + path, **names)

    def go(self, path: str, said: str = "", *, session: Session | None = None) -> Response:
        """Send the browser to another page, which says what was done."""
        place = self.base + path
        if self.is_part:
            return Response(status_code=200, headers={"hx-redirect": place})
        response = RedirectResponse(place, status_code=303)
        if said or session is not None:
            self._set_cookie(response, replace(session or self.cookie, said=said[:_LONGEST_SAID]))
        return response

    def _set_cookie(self, response: Response, session: Session) -> None:
        response.set_cookie(
            self.site.cookie,
            self.site.sessions.sign(session),
            path=self.base or "/",
            secure=self.site.proxy.is_https(self.request),
            httponly=True,
            samesite="strict",
        )


def _pairs(text: bytes, *, most: int = _MOST_FIELDS) -> dict[str, str]:
    try:
        found = parse_qsl(
            text.decode("ascii", "surrogateescape"),
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=most,
        )
    except ValueError:
        # Too many fields.
        return {}
    return dict(found)
