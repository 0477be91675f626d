"""Settings: environment variables, `.env` and pyproject.toml, as `kiqstart check` reads them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hypothesis import strategies as st
from pydantic_settings import BaseSettings
from tests.fuzz.odd import BYTES, TEXTS
from tests.fuzz.run_command import check_ended, run_command_line
from tests.fuzz.surface import Ground, Surface

from kiqstart import LogSettings
from kiqstart.broker import RedisSettings, TasksSettings
from todo_service.infrastructure.database.settings import DatabaseSettings, RetentionEnvironment, SchemaSettings

_CLASSES: Final[tuple[type[BaseSettings], ...]] = (
    *(TasksSettings, LogSettings, RedisSettings),
    *(DatabaseSettings, SchemaSettings, RetentionEnvironment),
)
_VARIABLES: Final = sorted(
    {
        f"{one.model_config.get('env_prefix', '')}{name}".upper()
        for one in _CLASSES
        for name in one.model_fields
        if not name.endswith("connect_timeout")
    }
)
_SECRET: Final = "planted-odd"
# Nobody answers there, at once.
_PLACES: Final = (
    *(
        "127.0.0.1:1",
        "127.0.0.1:1/0",
        "[::1]:1",
        "/nowhere/redis.sock",
        "127.0.0.1:1,127.0.0.1:2/main",
        "127.0.0.1:99999",
    ),
    *("127.0.0.1:x", "[::1", ":1/0", "/x?host=/nowhere", "/x?host=127.0.0.1&port=1"),
)
_SCHEMES: Final = (
    *("redis", "rediss", "unix", "sentinel", "sentinels", "cluster", "clusters", "memory", "postgresql", "postgres"),
    *("postgresql+asyncpg", "REDIS", "http", "file", ""),
)


def _joined(name: str, value: str) -> str:
    return f"{name}={value}"


def _url(scheme: str, user: str, place: str, options: list[str]) -> str:
    # No environment has a NUL.
    return f"{scheme}://{user}{place}{'?' if options else ''}{'&'.join(options)}".replace("\0", "")


def _line(name: str, value: bytes) -> bytes:
    return name.encode() + b"=" + value + b"\n"


_OPTIONS: Final = st.builds(
    _joined,
    st.sampled_from(
        [
            *(
                "password",
                "db",
                "ssl_cert_reqs",
                "ssl_ca_certs",
                "socket_timeout",
                "protocol",
                "sslmode",
                "sslrootcert",
            ),
            *(
                "sslcert",
                "sslkey",
                "sslcrl",
                "user",
                "port",
                "client_name",
                "retry",
                "connection_class",
                "options",
                "passfile",
            ),
        ]
    ),
    st.sampled_from([_SECRET, "verify-full", "system", "/dev/zero", "/nowhere", "none", "-1", "1e400"]) | TEXTS,
)
_URLS: Final = st.builds(
    _url,
    st.sampled_from(_SCHEMES),
    st.sampled_from(["", f"me:{_SECRET}@", f":{_SECRET}@", f"a@b:{_SECRET}@", "@", "me@"]),
    st.sampled_from(_PLACES),
    st.lists(_OPTIONS, max_size=2),
)
_VALUES: Final = (TEXTS | _URLS | st.sampled_from(["default:3,low:1", "0.5", "json", "console", "60"])).map(
    lambda text: text.replace("\0", "")
)


@dataclass(frozen=True)
class Odd:
    """Where settings come from."""

    environment: dict[str, str]
    urls: dict[str, str]
    dotenv: bytes | None
    pyproject: bytes | None


_LINES: Final = st.builds(
    _line,
    st.sampled_from(_VARIABLES) | TEXTS,
    BYTES | _URLS.map(str.encode),
)
_TABLES: Final = st.sampled_from(
    [
        *(
            b"tool = 5",
            b"[tool]\nkiqstart = 5",
            b"[tool.kiqstart]\napp = 5",
            b"[[tool]]\n",
            b"[tool.kiqstart]\n",
            b"a = " + b"[" * 5000,
        ),
        *(
            b'[tool.kiqstart]\napp = "tests.fuzz.trap"',
            b'[tool.kiqstart]\napp = "\\u0000:x"',
            b'[tool.kiqstart]\napp = ":"',
        ),
        *(b'[tool.kiqstart]\napp = "os:system"', b'[tool.kiqstart]\napp = "nobody.knows:it\\n\\u001b[2J"', b"\xff"),
    ]
)
_INPUTS: Final = st.builds(
    Odd,
    st.dictionaries(st.sampled_from(_VARIABLES), _VALUES, max_size=4),
    st.dictionaries(st.sampled_from(["REDIS_URL", "DATABASE_URL"]), _URLS, max_size=2),
    st.none() | st.none() | st.lists(_LINES, max_size=3).map(b"".join) | BYTES,
    st.none() | st.none() | _TABLES | BYTES,
)


def _write(file: Path, content: bytes | None) -> None:
    if content is None:
        file.unlink(missing_ok=True)
    else:
        file.write_bytes(content)


def _try_out(ground: Ground, odd: Odd) -> None:
    _write(ground.folder / ".env", odd.dotenv)
    _write(ground.folder / "pyproject.toml", odd.pyproject)
    # Nothing of what is tried waits for somebody who does not answer.
    environment = {"REDIS_CONNECT_TIMEOUT": "0.5", "DATABASE_CONNECT_TIMEOUT": "0.5", **odd.environment, **odd.urls}
    if odd.pyproject is not None:
        environment["KIQSTART_APP"] = ""
    try:
        for command in (["check"], ["tasks"]):
            check_ended(run_command_line(command, environment=environment, folder=ground.folder))
    finally:
        _write(ground.folder / ".env", None)
        _write(ground.folder / "pyproject.toml", None)


SURFACE: Final = Surface(
    name="settings",
    inputs=_INPUTS,
    try_out=_try_out,
    size=lambda odd: len(odd.environment) + len(odd.urls) + (odd.dotenv is not None) + (odd.pyproject is not None),
    examples=12,
)
