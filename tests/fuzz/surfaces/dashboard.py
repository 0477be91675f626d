"""The dashboard: odd addresses, queries, cookies, headers and forms, with whatever lies in Redis."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import quote_from_bytes

import httpx
from hypothesis import strategies as st
from redis.asyncio import Redis
from tests.end_to_end.cli.test_odd_data import BLOCKS, LETTERS, put
from tests.fuzz.judge import FindingError, check_printed, judged_log
from tests.fuzz.odd import ANY_TEXTS, BYTES, JSON, NUMBERS, TEXTS, as_json, changed, seldom
from tests.fuzz.surface import Ground, Surface
from tests.fuzz.surfaces.messages import put_foreign
from tests.kiqstart.integration.broker.brokers import Brokers
from tests.kiqstart.integration.dashboard.browser import OPERATOR, Browser, browsing, tags_of
from tests.kiqstart.integration.scheduler.hostile import PLANTS, Plant

from kiqstart.broker.keys import QueueKeys

_VIEWS: Final = ("/", "/queues", "/workers", "/schedules", "/runs", "/runs/task", "/dead", "/dead/letter", "/acts")
_ACTS: Final = (
    *("/queues/pause", "/queues/resume", "/tasks/pause", "/tasks/resume"),
    *("/schedules/pause", "/schedules/resume", "/schedules/run", "/dead/retry", "/dead/purge"),
    *("/runs/cancel", "/runs/retry"),
)
_OTHERS: Final = ("/login", "/logout", "/static/style.css", "/static/..%2fsite.py", "//evil/x", "/%00", "/nothing")
_NAMES: Final = st.sampled_from(["id", "name", "task", "reason", "older_than", "text", "outcome", "queue", "since"])
_WORDS: Final = st.sampled_from(["bad", "1-1", "0-0", "an-id", "default", "failed", "malformed", "1h", "echo"])
_RAW: Final = st.one_of(BYTES, _WORDS.map(str.encode), ANY_TEXTS.map(lambda text: text.encode(errors="surrogatepass")))
_PAIRS: Final = st.lists(st.tuples(_NAMES.map(str.encode) | BYTES, _RAW), max_size=3)
_FIELDS: Final = st.lists(
    st.tuples(st.sampled_from([b"reason", b"newest", b"run", b"until", b"user", b"password", b"token"]) | BYTES, _RAW),
    max_size=3,
)
# What a header may have in it at all.
_VALUES: Final = _RAW.map(lambda value: bytes(one for one in value if one not in b"\0\r\n")[:3000].strip())
_HEADERS: Final = st.dictionaries(
    st.sampled_from(
        [
            *("host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-user", "origin", "referer"),
            *("x-http-method-override", "hx-request", "hx-target", "content-type", "cookie", "range", "accept"),
        ]
    ),
    _VALUES,
    max_size=3,
)
_PAUSES: Final = st.dictionaries(
    st.tuples(st.sampled_from([b"queue:", b"task:", b""]), _RAW).map(b"".join),
    changed(
        {"since": 1, "user": "ada", "host": "h", "reason": ""},
        {"since": NUMBERS | JSON, **dict.fromkeys(("user", "host", "reason"), JSON)},
    ).map(as_json)
    | BYTES,
    max_size=3,
)
_OF_ACTS: Final = st.dictionaries(
    st.sampled_from([b"act", b"target", b"detail", b"user", b"host", b"reason"]) | BYTES, _RAW, min_size=1, max_size=6
)
_FOREIGN: Final = st.dictionaries(
    st.sampled_from(["dead", "workers", "delayed", "schedules", "acts", "paused", "worker_info", "queues", "runs"]),
    st.tuples(st.sampled_from(["text", "list", "hash", "set", "sorted set", "stream"]), BYTES),
    max_size=2,
)


@dataclass(frozen=True)
class Request:
    """What a browser, or somebody who is none, asks for.

    Args:
        is_ours: whether a form has the token of its session.
    """

    method: str
    path: str
    query: list[tuple[bytes, bytes]]
    headers: dict[str, bytes]
    fields: list[tuple[bytes, bytes]]
    is_ours: bool


@dataclass(frozen=True)
class Odd:
    """What lies in Redis, and what is asked for."""

    plant: Plant
    letters: list[dict[str, bytes]]
    blocks: list[bytes]
    pauses: dict[bytes, bytes]
    acts: list[dict[bytes, bytes]]
    foreign: dict[str, tuple[str, bytes]]
    requests: list[Request]


_REQUESTS: Final = st.builds(
    Request,
    st.sampled_from(["GET", "GET", "POST", "POST", "HEAD", "PUT", "OPTIONS", "TRACE"]),
    st.sampled_from([*_VIEWS, *_VIEWS, *_ACTS, *_ACTS, *_OTHERS]) | TEXTS.map(lambda text: f"/{text}"),
    _PAIRS,
    seldom(_HEADERS),
    _FIELDS,
    st.booleans(),
)
_INPUTS: Final = st.builds(
    Odd,
    PLANTS,
    st.lists(LETTERS, max_size=3),
    st.lists(BLOCKS, max_size=3),
    _PAUSES,
    st.lists(_OF_ACTS, max_size=3),
    seldom(_FOREIGN),
    st.lists(_REQUESTS, min_size=1, max_size=15),
)


def _joined(pairs: list[tuple[bytes, bytes]]) -> bytes:
    return b"&".join(
        b"%s=%s" % (quote_from_bytes(name).encode(), quote_from_bytes(value).encode()) for name, value in pairs
    )


async def _put(redis: Redis, keys: QueueKeys, odd: Odd) -> None:
    for field, kept in odd.pauses.items():
        await redis.hset(keys.paused, cast("str", field), cast("str", kept))
    for act in odd.acts:
        await redis.xadd(keys.acts, cast("dict[Any, Any]", act))
    for name, (kind, value) in odd.foreign.items():
        await put_foreign(redis, cast("str", getattr(keys, name)), kind, value)


async def _ask(browser: Browser, request: Request, token: str) -> httpx.Response:
    fields = [*request.fields, *([(b"token", token.encode())] if request.is_ours else [])]
    path = quote_from_bytes(request.path.encode(errors="surrogatepass"), safe="/%")
    return await browser.client.request(
        request.method,
        httpx.URL(f"http://site{path}", query=_joined(request.query)),
        content=_joined(fields) if request.method == "POST" else b"",
        headers=[(name.encode(), value) for name, value in request.headers.items()],
    )


def check_page(answer: httpx.Response) -> None:
    """Fail if an answer is a failure, leads away, or could harm a browser."""
    if answer.status_code >= 500 and answer.status_code != 503:
        raise FindingError(f"status {answer.status_code} of {answer.request.method} {answer.request.url!r:.300}")
    place = answer.headers.get("location", answer.headers.get("hx-redirect", "/"))
    if not place.startswith("/") or place.startswith("//"):
        raise FindingError(f"it leads away: {place!r:.300}")
    if "default-src 'self'" not in answer.headers["content-security-policy"]:
        raise FindingError("a page says nothing of what it may run")
    if not answer.text or not answer.headers.get("content-type", "").startswith("text/html"):
        return
    # A traceback of a run is shown on purpose.
    check_printed(answer.text.replace("Traceback (most recent call last)", "Error"))
    if (scripts := tags_of(answer).count("script")) != 1:
        raise FindingError(f"{scripts} scripts are in a page")


async def _browse(ground: Ground, odd: Odd) -> None:
    brokers = Brokers(ground.redis_url, f"{{{ground.new_prefix()}}}:tasks")
    broker = brokers()
    keys = broker.keys
    await put(ground.redis_url, keys, odd.plant, odd.letters, odd.blocks, set())
    async with Redis.from_url(ground.redis_url) as redis:
        await _put(redis, keys, odd)
        async with browsing(broker) as browser, browsing(broker) as stranger:
            await browser.log_in(OPERATOR)
            token = await browser.token("/runs/cancel?id=x")
            session = dict(browser.client.cookies)
            for request in odd.requests:
                check_page(await _ask(browser, request, token))
                # What an odd request has made of the session ends with it.
                browser.client.cookies = httpx.Cookies(session)
                outside = await _ask(stranger, request, token)
                check_page(outside)
                if outside.text and outside.status_code == 200 and "<nav" in outside.text:
                    raise FindingError(f"a page is shown to a stranger: {request!r:.500}")
        await redis.delete(*await redis.keys(f"{keys.name}*"))
    await brokers.close()


def _try_out(ground: Ground, odd: Odd) -> None:
    with judged_log():
        asyncio.run(_browse(ground, odd))


SURFACE: Final = Surface(
    name="dashboard", inputs=_INPUTS, try_out=_try_out, size=lambda odd: len(odd.requests) + len(odd.acts), examples=3
)
