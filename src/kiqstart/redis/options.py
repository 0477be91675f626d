"""Which arguments of redis-py's connections a user may set, in the URL or beside it, and what each may be."""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

Check = Callable[[object], object]

# Redis takes no other characters in the name of a connection.
_CLIENT_NAME: Final = re.compile(r"[!-~]+")
_YES_OR_NO: Final = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


def checked_option(name: str, value: object, *, tls: bool) -> object:
    """The value for redis-py of an option that is known.

    Raises:
        ValueError: one line: the value does not fit.
    """
    return (_TLS_OPTIONS if tls and name in _TLS_OPTIONS else _OPTIONS)[name](value)


def known_options(*, tls: bool) -> list[str]:
    """The options that both a URL and a keyword may set."""
    return [*_OPTIONS, *(_TLS_OPTIONS if tls else ())]


def is_tls_option(name: str) -> bool:
    """Whether it makes sense with TLS only."""
    return name.startswith("ssl_")


def why_not(name: str) -> str:
    """Why kiqstart does not hand on an option that redis-py has; '' for a name that is none of redis-py's."""
    return _REFUSED.get(name, "")


def _file(value: object) -> str:
    if not Path(str(value)).is_file():
        raise ValueError(f"there is no file {value}")
    return str(value)


def _client_name(value: object) -> str:
    if not isinstance(value, str) or not _CLIENT_NAME.fullmatch(value):
        raise ValueError("write printable ASCII characters without a space")
    return value


def _seconds(value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if isinstance(value, bool) or not 0 <= number < math.inf:
        raise ValueError("write a number of seconds, 0 for never")
    return number


def _only(text: str, wanted: object) -> Check:
    def check(value: object) -> object:
        if str(value).lower() != text and _YES_OR_NO.get(str(value).lower(), value) != wanted:
            raise ValueError(f"kiqstart needs {text}, which it sets by itself")
        return wanted

    return check


def _one_of(choices: Mapping[str, object]) -> Check:
    def choose(value: object) -> object:
        if str(value).lower() not in choices:
            raise ValueError(f"write {' or '.join(choices)}")
        return choices[str(value).lower()]

    return choose


_OPTIONS: Final[dict[str, Check]] = {
    "client_name": _client_name,
    "health_check_interval": _seconds,
    "protocol": _one_of({"2": 2, "3": 3}),
    # Answers are bytes everywhere.
    "decode_responses": _only("false", False),
}
# Those that redis-py's clients for a server, for Sentinels and for a cluster have in common.
_TLS_OPTIONS: Final[dict[str, Check]] = {
    "ssl_ca_certs": _file,
    "ssl_certfile": _file,
    "ssl_keyfile": _file,
    "ssl_cert_reqs": _one_of({"required": "required", "optional": "optional", "none": "none"}),
    "ssl_check_hostname": _one_of(_YES_OR_NO),
}
_TIMEOUTS: Final = "timeouts and retries are kiqstart's own"
_PLACE: Final = "where Redis is stands in the URL"
_REFUSED: Final[dict[str, str]] = {
    "db": "the number of the database stands in the URL",
    **dict.fromkeys(("host", "port", "path", "unix_socket_path", "url", "ssl"), _PLACE),
    **dict.fromkeys(
        ("socket_timeout", "socket_connect_timeout", "retry", "retry_on_timeout", "retry_on_error", "timeout"),
        _TIMEOUTS,
    ),
    **dict.fromkeys(("socket_keepalive", "socket_keepalive_options"), "connections are kept alive anyway"),
    "max_connections": "that is max_connection_pool_size",
    **dict.fromkeys(("encoding", "encoding_errors"), "kiqstart reads and writes bytes"),
    **dict.fromkeys(("connection_class", "connection_pool"), "connections are kiqstart's own"),
}
