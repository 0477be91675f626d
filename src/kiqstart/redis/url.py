"""What a Redis URL says: one server, the servers behind Sentinels, or a cluster."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from kiqstart.errors import OperatorError
from kiqstart.redis.options import checked_option, is_tls_option, known_options, why_not

FORMS: Final = (
    "redis://[user:password@]host:6379/0, rediss:// for TLS, unix:///path/to/socket, "
    "sentinel://[user:password@]host1:26379,host2:26379/service/0 or cluster://[user:password@]host1:6379,host2:6379 "
    "(sentinels://, clusters:// for TLS)"
)

Kind = Literal["server", "sentinel", "cluster"]


class InvalidRedisUrlError(OperatorError, ValueError):
    """A text that is no URL of a Redis. The message continues the name of a setting and never repeats the text."""


class InvalidRedisOptionError(OperatorError, ValueError):
    """A keyword argument that no connection to Redis takes here. The message says it all, in one line."""


class Node(NamedTuple):
    """Where one server or Sentinel listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """`host:port`, with an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class RedisUrl:
    """A URL taken apart. `options` are arguments of redis-py's connections; `repr` shows no password."""

    kind: Kind
    nodes: tuple[Node, ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    @property
    def address(self) -> str:
        """The place for messages to operators: no user, no password."""
        if self.kind == "server":
            return self.path or str(self.nodes[0])
        scheme = f"{self.kind}s" if self.tls else self.kind
        return f"{scheme}://{','.join(map(str, self.nodes))}" + (f"/{self.service}" if self.service else "")


def parse_redis_url(url: str) -> RedisUrl:
    """Take `url` apart.

    Raises:
        InvalidRedisUrlError: one line with what is wrong and how to write it.
    """
    try:
        parts = urlsplit(url.strip())
    except (ValueError, AttributeError):  # not every caller's types are checked
        raise InvalidRedisUrlError(f"is no URL of a Redis: write {FORMS}, or memory://") from None
    if parts.scheme not in _KINDS:
        raise InvalidRedisUrlError(f"is no URL of a Redis: write {FORMS}, or memory://")
    kind, tls, port = _KINDS[parts.scheme]
    if parts.fragment or "#" in url:
        raise InvalidRedisUrlError(_UNESCAPED.format("a '#'"))
    user, _, hosts = parts.netloc.rpartition("@")
    if "@" in user:
        raise InvalidRedisUrlError(_UNESCAPED.format("a second '@'"))
    query = _query(parts, kind=kind, tls=tls)
    username, _, password = user.partition(":")
    # One before the host goes first.
    given_user, given_password = query.pop("username", None), query.pop("password", None)
    is_socket = parts.scheme == "unix"
    if is_socket and (hosts or not parts.path.strip("/")):
        raise InvalidRedisUrlError("needs the socket's absolute path after two slashes: unix:///path/to/socket")
    nodes = () if is_socket else _nodes(hosts, port, several=kind != "server")
    service, db = _path(parts, query, kind=kind)
    return RedisUrl(
        kind=kind,
        nodes=nodes,
        path=unquote(parts.path) if is_socket else "",
        service=service,
        db=db,
        tls=tls,
        username=unquote(username) or given_user,
        password=unquote(password) or given_password,
        sentinel_username=query.pop("sentinel_username", None),
        sentinel_password=query.pop("sentinel_password", None),
        options=MappingProxyType({name: _option(name, value, tls=tls) for name, value in query.items()}),
    )


def check_keywords(options: Mapping[str, object], url: RedisUrl) -> dict[str, object]:
    """The arguments of redis-py's connections that are not part of a URL.

    Raises:
        InvalidRedisOptionError: one is not known, or does not fit its name or the URL.
    """
    known = [*known_options(tls=url.tls), *_KEYWORDS]
    for name in options:
        if is_tls_option(name) and not url.tls:
            raise InvalidRedisOptionError(f"the argument {name} is for TLS: write {_WITH_TLS[url.kind]}:// in the URL")
        if name not in known:
            why = why_not(name) or f"it is none of {', '.join(known)}"
            raise InvalidRedisOptionError(f"the connections to Redis take no argument {name}: {why}")
    if options.get("credential_provider") is not None and (url.username or url.password):
        raise InvalidRedisOptionError("the argument credential_provider and a user or password in the URL: choose one")
    try:
        return {
            name: value if name in _KEYWORDS else checked_option(name, value, tls=url.tls)
            for name, value in options.items()
        }
    except ValueError as error:
        raise InvalidRedisOptionError(f"{', '.join(options)}: {error}") from None


def _query(parts: SplitResult, *, kind: Kind, tls: bool) -> dict[str, str]:
    known = {"db", "username", "password", *known_options(tls=tls)}
    if kind == "sentinel":
        known |= {"sentinel_username", "sentinel_password"}
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in query:
        if is_tls_option(name) and not tls:
            raise InvalidRedisUrlError(f"has the option {name}, which is for TLS: write {_WITH_TLS[kind]}://")
        if name not in known:
            # Only a name of redis-py's is repeated: behind an unescaped '?' it may be the rest of a password.
            which = f"the option {name}, which is not for you to set: {why}" if (why := why_not(name)) else _UNKNOWN
            raise InvalidRedisUrlError(
                f"has {which}; known are {', '.join(sorted(known))} (a '?' in a password is written as %3F)"
            )
    return query


def _nodes(hosts: str, default_port: int, *, several: bool) -> tuple[Node, ...]:
    matches = [_HOST.fullmatch(host.strip()) for host in hosts.split(",")] if hosts or several else []
    if len(matches) > 1 and not several:
        raise InvalidRedisUrlError(f"names several hosts: write {FORMS}")
    nodes = tuple(
        Node(unquote(match["v6"] or match["host"] or "localhost"), int(match["port"] or default_port))
        for match in matches
        if match is not None and (not several or match["v6"] or match["host"])
    )
    if len(nodes) < len(matches) or any(node.port > _LAST_PORT for node in nodes):
        raise InvalidRedisUrlError(_UNESCAPED.format("no host:port behind its '://'"))
    return nodes or (Node("localhost", default_port),)


def _path(parts: SplitResult, query: dict[str, str], *, kind: Kind) -> tuple[str, int]:
    """The Sentinels' name of the service, and the number of the database."""
    pieces = [] if parts.scheme == "unix" else [unquote(piece) for piece in parts.path.split("/") if piece]
    service = pieces.pop(0) if kind == "sentinel" and pieces else ""
    if kind == "sentinel" and not service:
        raise InvalidRedisUrlError("names no service: write sentinel://host1:26379,host2:26379/service/0")
    number = query.pop("db", None) or (pieces.pop(0) if pieces else "0")
    if pieces or not number.isdecimal() or len(number) > _MOST_DIGITS:
        raise InvalidRedisUrlError(_UNESCAPED.format("no number of a database behind its last '/'"))
    if kind == "cluster" and int(number):
        raise InvalidRedisUrlError("names a database: a cluster has number 0 only")
    return service, int(number)


def _option(name: str, value: str, *, tls: bool) -> object:
    try:
        return checked_option(name, value, tls=tls)
    except ValueError as error:
        raise InvalidRedisUrlError(f"has a value that does not fit its option {name}: {error}") from None


_KINDS: Final[dict[str, tuple[Kind, bool, int]]] = {
    "redis": ("server", False, 6379),
    "rediss": ("server", True, 6379),
    "unix": ("server", False, 0),
    "sentinel": ("sentinel", False, 26379),
    "sentinels": ("sentinel", True, 26379),
    "cluster": ("cluster", False, 6379),
    "clusters": ("cluster", True, 6379),
}
_WITH_TLS: Final[dict[Kind, str]] = {"server": "rediss", "sentinel": "sentinels", "cluster": "clusters"}
# Objects and secrets, which are no part of a URL or have a place of their own there.
_KEYWORDS: Final = ("username", "password", "credential_provider", "driver_info")
_UNKNOWN: Final = "an option that is not known here"
# Of a database's number.
_MOST_DIGITS: Final = 9
_LAST_PORT: Final = 65535
_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^\s:/?#\[\]@]*))(?::(?P<port>\d{1,5}))?")
_UNESCAPED: Final = "has {}; in a password, write @ as %40, / as %2F, : as %3A, # as %23, ? as %3F and % as %25"
