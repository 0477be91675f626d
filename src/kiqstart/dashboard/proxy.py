"""What a proxy says, which is believed if it comes from the proxy's address."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from starlette.requests import Request

from kiqstart.dashboard.sessions import LONGEST_NAME, DashboardRole
from kiqstart.dashboard.settings import DashboardSettings

_ALL: Final = "*"


class Proxy:
    """The proxy before the dashboard, if there is one."""

    def __init__(self, settings: DashboardSettings) -> None:
        self._settings = settings

    def user(self, request: Request) -> str:
        """Whom it has logged in; '' for nobody."""
        header = self._settings.proxy_header
        if header is None or not self._is_peer(request):
            return ""
        names = request.headers.getlist(header)
        # Two of them say that somebody has added one.
        return names[0].strip()[:LONGEST_NAME] if len(names) == 1 else ""

    def role(self, user: str) -> DashboardRole:
        """What somebody may do whom it has logged in."""
        operators = self._settings.proxy_operators
        return DashboardRole.ACT if _ALL in operators or user in operators else DashboardRole.VIEW

    def is_https(self, request: Request) -> bool:
        """Whether the browser speaks TLS, with this server or with the proxy."""
        forwarded = request.headers.get("x-forwarded-proto", "") if self._is_peer(request) else ""
        return "https" in (str(request.scope["scheme"]), forwarded.strip().lower())

    def address(self, request: Request) -> str:
        """The browser's address, as the proxy says where there is one."""
        peer = request.client.host if request.client is not None else ""
        if not self._is_peer(request):
            return peer
        # The last is what the proxy itself has added: of several headers, the last one's.
        said = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
        found = parse_address(_without_port(said))
        return peer if found is None else str(found)

    def _is_peer(self, request: Request) -> bool:
        address = parse_address(request.client.host if request.client is not None else "")
        return address is not None and any(address in network for network in self._settings.proxy_addresses)


def _without_port(text: str) -> str:
    """An address as some proxies write it: `[2001:db8::1]:443`, `10.0.0.1:50000`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """An address of a browser or a proxy; None for what is none."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    # A socket that takes both kinds names an IPv4 address so.
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
