"""What all pages of one dashboard share."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from kiqstart.app import App
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.queued_tasks import QueuedTasks
from kiqstart.broker.redis_text import raw_name
from kiqstart.broker.run_index import RunIndex
from kiqstart.dashboard.latest import Latest
from kiqstart.dashboard.login_limit import LoginLimit
from kiqstart.dashboard.looks import Looks
from kiqstart.dashboard.policy_standings import PolicyStandings
from kiqstart.dashboard.proxy import Proxy
from kiqstart.dashboard.sessions import Sessions
from kiqstart.dashboard.settings import DashboardSettings
from kiqstart.metrics.page import MetricsPage
from kiqstart.observability.redaction import redact_beginning
from kiqstart.operations.findings import Finding
from kiqstart.operations.letter_index import LetterIndex
from kiqstart.operations.schedule_wording import shown_seconds
from kiqstart.operations.text import shown, shown_lines
from kiqstart.tasks.labels import LONGEST_NAME

# Characters of a text in a line, and of one whose lines stay lines: a stranger's may have millions.
_LONGEST_LINE: Final = 4000
_LONGEST_LINES: Final = 200_000
_LONGEST_IN_A_LIST: Final = 200
_TYPES: Final = {
    "style.css": "text/css; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@dataclass(frozen=True, kw_only=True)
class Asset:
    """A file that pages load.

    Args:
        version: of its content; in its address, so that a browser keeps it.
    """

    content: bytes
    media_type: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Site:
    """An application's dashboard.

    Args:
        has_streams: whether pages are kept up to date over streams.
        passwords: held while a password is tried.
    """

    app: App
    broker: StreamBroker
    settings: DashboardSettings
    sessions: Sessions
    proxy: Proxy
    templates: Environment
    assets: Mapping[str, Asset]
    metrics: MetricsPage
    run_index: RunIndex
    letter_index: LetterIndex
    queued_tasks: QueuedTasks
    database: Latest[Sequence[Finding]]
    clean_ups: Latest[Sequence[Finding]]
    policies: Latest[PolicyStandings]
    has_streams: bool = False
    limit: LoginLimit = field(default_factory=LoginLimit)
    looks: Looks = field(default_factory=Looks)
    passwords: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def cookie(self) -> str:
        """The session cookie's name: an application's own, since a browser sends cookies to all ports of a host."""
        return f"kiqstart_{hashlib.sha256(self.broker.keys.name.encode(errors='replace')).hexdigest()[:8]}"

    @property
    def menu(self) -> Sequence[tuple[str, str]]:
        """Addresses and names of the pages."""
        pages = [
            ("/", "Overview"),
            ("/queues", "Queues"),
            ("/tasks", "Tasks"),
            ("/workers", "Workers"),
            ("/schedules", "Schedules"),
            ("/runs", "Runs"),
            ("/dead", "Dead letters"),
        ]
        if self.app.retention is not None:
            pages.append(("/retention", "Retention"))
        return [*pages, ("/acts", "Acts")]


def read_assets() -> dict[str, Asset]:
    """Read the files that pages load."""
    folder = files("kiqstart.dashboard") / "static"
    contents = {name: (folder / name).read_bytes() for name in _TYPES}
    return {
        name: Asset(content=content, media_type=_TYPES[name], version=hashlib.sha256(content).hexdigest()[:12])
        for name, content in contents.items()
    }


@cache
def make_templates() -> Environment:
    """Templates, in which every text is shown as on the command line, then escaped for HTML.

    All dashboards of a process share them: a page takes several times as long to compile as to fill in.
    """
    made = Environment(
        loader=PackageLoader("kiqstart.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "beginning": _beginning,
        "lines": _lines,
        "seconds": _seconds,
        "typed": _typed,
        "within": _within,
        "utc": _utc,
    }
    return made


def address(path: str, **names: str) -> Markup:
    """A page's address with names in its query, each as it is in Redis, for an attribute."""
    return escape(place(path, **names))


def place(path: str, **names: str) -> str:
    """The same, to be sent to."""
    # What is longer names nothing that there can be.
    pairs = [(raw_name(name), raw_name(value[:LONGEST_NAME])) for name, value in names.items() if value]
    query = urlencode(pairs, quote_via=quote)
    return f"{path}?{query}" if query else path


def _harmless(value: object) -> object:
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return shown(value if len(value) <= _LONGEST_LINE else f"{redact_beginning(value, _LONGEST_LINE)}…")


def _beginning(text: str) -> str:
    return redact_beginning(text, _LONGEST_IN_A_LIST)


def _lines(text: str) -> Markup:
    more = len(text) - _LONGEST_LINES
    if more <= 0:
        return escape(shown_lines(text))
    return escape(f"{shown_lines(redact_beginning(text, _LONGEST_LINES))}…\n({more} more characters)")


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else shown_seconds(max(seconds, 0.0))


def _typed(text: str) -> Markup:
    # What somebody has typed comes back as it was: a form that sends something else would change it.
    return escape(text.encode(errors="replace").decode())


def _utc(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _within(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return "> 1 h" if seconds == float("inf") else f"≤ {shown_seconds(seconds)}"
