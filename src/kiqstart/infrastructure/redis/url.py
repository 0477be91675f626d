"""What a Redis URL says: one server, the servers behind Sentinels, or a cluster."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

FORMS: Final = (
    "redis://[user:password@]host:6379/0, rediss:// for TLS, unix:///path/to/socket, "
    "sentinel://[user:password@]host1:26379,host2:26379/service/0 or cluster://[user:password@]host1:6379,host2:6379 "
    "(sentinels://, clusters:// for TLS)"
)

Kind = Literal["server", "sentinel", "cluster"]


class InvalidRedisUrlError(ValueError):
    """A text that is no URL of a Redis. The message continues the name of a setting and never repeats the text."""


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
    except ValueError:
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
        username=unquote(username) or query.pop("username", None),
        password=unquote(password) or query.pop("password", None),
        sentinel_username=query.pop("sentinel_username", None),
        sentinel_password=query.pop("sentinel_password", None),
        options=MappingProxyType({name: _option(name, value) for name, value in query.items()}),
    )


def _query(parts: SplitResult, *, kind: Kind, tls: bool) -> dict[str, str]:
    known = {"db", "username", "password", "client_name"}
    if kind == "sentinel":
        known |= {"sentinel_username", "sentinel_password"}
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in query:
        if name.startswith("ssl_") and not tls:
            raise InvalidRedisUrlError(f"has the option {name}, which is for TLS: write {_WITH_TLS[kind]}://")
        if name not in known and name not in _TLS_OPTIONS:
            # The name is not repeated: behind an unescaped '?' it may be the rest of a password.
            raise InvalidRedisUrlError(
                f"has an option that is not known here; known are {', '.join(sorted(known))}"
                + (f", {', '.join(_TLS_OPTIONS)}" if tls else "")
                + " (a '?' in a password is written as %3F; timeouts and retries are kiqstart's own)"
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
    if pieces or not number.isdecimal():
        raise InvalidRedisUrlError(_UNESCAPED.format("no number of a database behind its last '/'"))
    if kind == "cluster" and int(number):
        raise InvalidRedisUrlError("names a database: a cluster has number 0 only")
    return service, int(number)


def _option(name: str, value: str) -> object:
    try:
        return _TLS_OPTIONS.get(name, str)(value)
    except ValueError as error:
        raise InvalidRedisUrlError(f"has a value that does not fit its option {name}: {error}") from None


def _file(value: str) -> str:
    if not Path(value).is_file():
        raise ValueError(f"there is no file {value}")
    return value


def _one_of(choices: Mapping[str, object]) -> Callable[[str], object]:
    def choose(value: str) -> object:
        if value.lower() not in choices:
            raise ValueError(f"write {' or '.join(choices)}")
        return choices[value.lower()]

    return choose


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
_YES_OR_NO: Final = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
# Those that redis-py's clients for a server, for Sentinels and for a cluster have in common.
_TLS_OPTIONS: Final[dict[str, Callable[[str], object]]] = {
    "ssl_ca_certs": _file,
    "ssl_certfile": _file,
    "ssl_keyfile": _file,
    "ssl_cert_reqs": _one_of({"required": "required", "optional": "optional", "none": "none"}),
    "ssl_check_hostname": _one_of(_YES_OR_NO),
}
_LAST_PORT: Final = 65535
_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^\s:/?#\[\]@]*))(?::(?P<port>\d{1,5}))?")
_UNESCAPED: Final = "has {}; in a password, write @ as %40, / as %2F, : as %3A, # as %23, ? as %3F and % as %25"
