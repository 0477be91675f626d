"""DATABASE_URL taken apart: what SQLAlchemy's asyncpg dialect takes, and what asyncpg alone does."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlencode

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

FORM: Final = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
_DRIVER: Final = "postgresql+asyncpg"
_SCHEMES: Final = frozenset({"postgres", "postgresql", _DRIVER})
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# With these asyncpg looks at the server's certificate.
_CHECKING: Final = frozenset({"require", "verify-ca", "verify-full"})
_SSL_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_SYSTEM: Final = "system"
_SESSIONS: Final = ("any", "primary", "standby", "prefer-standby", "read-write", "read-only")
# What a URL's query may hold: asyncpg answers any other name with a TypeError.
_OPTIONS: Final = frozenset({"host", "port", "ssl", "sslmode", "passfile", "target_session_attrs", *_SSL_FILES})
_LAST_PORT: Final = 65535


@dataclass(frozen=True, kw_only=True)
class DatabaseUrl:
    """A URL taken apart.

    Args:
        url: all that SQLAlchemy's dialect takes.
        ssl_files: the files that TLS needs, as libpq names them.
    """

    url: URL
    ssl_files: Mapping[str, str]

    @property
    def connect_arguments(self) -> dict[str, str]:
        """What else asyncpg is to be given: it takes the names of files in a URL of its own only."""
        return {"dsn": f"postgresql://?{urlencode(self.ssl_files)}"} if self.ssl_files else {}

    def with_database(self, name: str) -> str:
        """The URL of another database of the same server, with its password."""
        url = self.url.set(database=name).update_query_dict(self.ssl_files)
        return url.render_as_string(hide_password=False)


def parse_database_url(text: str) -> DatabaseUrl:
    """Take a URL apart.

    Raises:
        ValueError: what is wrong with it; the message continues the name of a setting, and never repeats the text: it
            may hold a password, and in a malformed one nobody knows where.
    """
    url = _parse(text)
    if "@" in (url.host or ""):
        raise ValueError("has an '@' in its password: write it as %40")
    if url.drivername not in _SCHEMES:
        raise ValueError(f"must name PostgreSQL: write {FORM}")
    if unknown := sorted(url.query.keys() - _OPTIONS):
        raise ValueError(f"has an unknown option {unknown[0]!r} after '?': known are {', '.join(sorted(_OPTIONS))}")
    url = url.set(drivername=_DRIVER)
    _check_places(url)
    _check_choice(url, "target_session_attrs", _SESSIONS)
    return _with_ssl(url)


def _parse(text: str) -> URL:
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        raise ValueError(f"is not a URL: write {FORM}") from None
    parts = (url.username, url.password, url.host, url.database, *_flat(url.query.values()))
    if any("\0" in part for part in parts if part):
        raise ValueError("has a character with the code 0, which PostgreSQL does not take")
    return url


def _check_places(url: URL) -> None:
    try:
        _, found = url.get_dialect()().create_connect_args(url)
        ports = [int(cast("int", port)) for port in _listed(found.get("port"))]
    except (ArgumentError, ValueError):
        several = "?host=A:5432&host=B:5432"
        raise ValueError(f"has hosts or ports that cannot be: write HOST:PORT, or several as {several}") from None
    for port in ports:
        if not 0 < port <= _LAST_PORT:
            raise ValueError(f"names port {port}: write one from 1 to {_LAST_PORT}")
    try:
        for host in _listed(found.get("host")):
            if not host.startswith("/"):
                # As Python does before it looks a name up.
                host.encode("idna")
    except UnicodeError:
        raise ValueError(f"names a host that there cannot be: write {FORM}") from None


def _with_ssl(url: URL) -> DatabaseUrl:
    mode = _check_choice(url, "sslmode", _SSL_MODES) or _check_choice(url, "ssl", _SSL_MODES, named="sslmode")
    files = {name: _one(url, name) for name in _SSL_FILES if name in url.query}
    url = url.difference_update_query(["sslmode", "ssl", *_SSL_FILES])
    if files.get("sslrootcert") == _SYSTEM:
        mode = mode or "verify-full"
        files["sslrootcert"] = _system_certificates()
    if files and mode not in _CHECKING:
        raise ValueError(f"has {', '.join(files)}, which do nothing with sslmode={mode or 'prefer'}: use verify-full")
    _check_files(files)
    return DatabaseUrl(url=url if mode is None else url.update_query_dict({"ssl": mode}), ssl_files=files)


def _check_choice(url: URL, name: str, known: Sequence[str], *, named: str = "") -> str | None:
    if name not in url.query:
        return None
    if (value := _one(url, name)) not in known:
        raise ValueError(f"has an unknown {named or name}: known are {', '.join(known)}")
    return value


def _check_files(files: Mapping[str, str]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name, path in files.items():
        try:
            if name == "sslcert":
                # Without a password, so that nobody is asked for one on the terminal.
                context.load_cert_chain(path, keyfile=files.get("sslkey"), password="")
            elif name != "sslkey":
                context.load_verify_locations(cafile=path)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it holds nothing of that kind"
            raise ValueError(f"names with {name} a file that cannot be used: {why}") from None
    if "sslkey" in files and "sslcert" not in files:
        raise ValueError("has sslkey and no sslcert: a key needs its certificate")


def _system_certificates() -> str:
    paths = ssl.get_default_verify_paths()
    if not paths.cafile:
        raise ValueError("has sslrootcert=system, and this system keeps no file of certificates: name one")
    return paths.cafile


def _one(url: URL, name: str) -> str:
    value = url.query[name]
    if not isinstance(value, str):
        raise ValueError(f"has the option {name} several times")  # noqa: TRY004  # what is read is wrong, not who asks
    return value


def _flat(values: object) -> list[str]:
    return [one for value in cast("list[str | tuple[str, ...]]", values) for one in _listed(value)]


def _listed(value: object) -> list[str]:
    if value is None:
        return []
    return list(cast("list[str]", value)) if isinstance(value, list | tuple) else [cast("str", value)]
