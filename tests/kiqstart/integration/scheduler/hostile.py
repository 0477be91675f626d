"""What strangers, mistakes and later versions may leave where schedules are kept."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from hypothesis import strategies as st

_VALID: Final[dict[str, object]] = {
    "name": "bad",
    "task": "work",
    "timing": {"every": "PT1S", "start": "1970-01-01T00:00:00Z"},
    "is_dynamic": True,
}
_Values = st.SearchStrategy[object]


def _some(*values: object) -> _Values:
    return st.sampled_from(values)


def _objects(**fields: _Values) -> _Values:
    return st.fixed_dictionaries(fields)


_NUMBERS: Final = _some(0, -1, 1e300, -1e300, 10**30, 1.5, float("nan"), float("inf"), 2**63, "1e306", "nan")
_LEAVES: Final[_Values] = st.one_of(st.none(), st.booleans(), _NUMBERS, st.text(max_size=20))
_JSON: Final[_Values] = st.one_of(
    _LEAVES, st.lists(_LEAVES, max_size=3), st.dictionaries(st.text(max_size=8), _LEAVES, max_size=3)
)
_TIMES: Final = _some(
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59-12:00"),
    *("1970-01-01T00:00:00", "2026-02-30T00:00:00Z", "-200000-01-01T00:00:00Z", "1900-01-01T00:00:00+23:59"),
)
_PERIODS: Final = _some("PT1S", "PT0S", "-PT5S", "P36525D", "P36526D", "PT0.5S", "P1000000000D")
_CRONS: Final = _some(
    *("* * * * *", "0 0 30 2 *", "0 0 29 2 1#5", "99 99 * * *", "*/0 * * * *", "@yearly", "@never", ""),
    *(",".join(["0"] * 300_000) + " * * * *", "0 0 LW * *", "9" * 5000 + " * * * *", "* * * * * *"),
)
_ZONES: Final = _some(
    "UTC", "Mars/Olympus", "../../etc/passwd", "a\0b", "\x1b[2J", "+99:99", "-23:59", "", "z" * 10_000
)
_TIMINGS: Final[_Values] = st.one_of(
    _objects(at=_TIMES | _NUMBERS),
    _objects(every=_PERIODS | _NUMBERS, start=_TIMES),
    _objects(
        expression=_CRONS | st.text(alphabet="0123456789*/-,#L? @", max_size=15),
        time_zone=_ZONES | st.text(max_size=5),
    ),
    _JSON,
)
_LABELS: Final[_Values] = st.dictionaries(
    st.sampled_from(["delay", "queue_name", "unique", "unique_template", "timeout", "scheduled_at", "colour"]),
    _JSON | _some("{nope}", "{x:>3000000}", "\n", "{", "[]", "-5", "0.1"),
    max_size=3,
)
_FIELDS: Final[dict[str, _Values]] = {
    "v": _some(0, 1, 2, 10**30, "2", None),
    "name": _some("other", "", "bad\n[error] forged", "b" * 10_000, None),
    "task": _some("nobody's", "\0", None, 5),
    "args": _JSON | _some([1], ["x" * 100_000], [[[[["deep"]]]]]),
    "kwargs": _JSON,
    "labels": _LABELS | _JSON,
    "timing": _TIMINGS,
    "missed": _some("latest", "all", "none", "never", 1, None),
    "at_most": _some(1, 5, 10**9, 0, -1) | _NUMBERS,
    "max_lateness": _NUMBERS,
    "is_dynamic": _JSON,
    "later": _JSON,
}


def _mutated(changes: Mapping[str, object]) -> bytes:
    return json.dumps(_VALID | dict(changes)).encode()


def _with_timing(timing: object) -> bytes:
    return _mutated({"timing": timing})


def _with_labels(labels: object) -> bytes:
    return _mutated({"labels": labels})


def _as_json(value: object) -> bytes:
    return json.dumps(value).encode()


_DEFINITIONS: Final = st.one_of(
    st.fixed_dictionaries({}, optional=_FIELDS).map(_mutated),
    _TIMINGS.map(_with_timing),
    _LABELS.map(_with_labels),
    _JSON.map(_as_json),
    st.binary(max_size=50),
    st.just(b'{"name":"bad","task":"work","args":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    st.just(_mutated({}).replace(b'"work"', b'"\\ud800"')),
)
_NAMES: Final = st.sampled_from([b"bad", b"", b"\xff\xfe", b"a\nb", b"a\0b", b"\x1b[2J", b"n" * 10_000])
_LASTS: Final = st.one_of(
    st.none(),
    st.sampled_from([b"", b"\xff", b"1\n2\nsent\n0\n", b"inf\nnan\nsent\n-5\nx", b"1\n2\nodd\n3\nabcd"]),
    st.binary(max_size=30),
)
_TEXTS: Final = st.sampled_from([None, b"", b"x", b"nan", b"inf", b"-inf", b"1e300", b"\xff", b"-1"])
_NOW: Final = 1_800_000_000_000
_SCORES: Final = st.one_of(
    st.sampled_from(
        [0.0, float("inf"), float("-inf"), 1e18, -1e300, 1e300, -62_135_596_800_000.0, 253_402_300_799_999.0]
    ),
    st.floats(_NOW - 1e7, _NOW + 5e3),
    st.integers(_NOW - 5000, _NOW + 5000).map(float),
)


@dataclass(frozen=True)
class Bad:
    """A schedule of a stranger's."""

    name: bytes
    definition: bytes | None
    score: float | None
    last: bytes | None
    is_paused: bool


@dataclass(frozen=True)
class Plant:
    """All that is found beside a sound schedule."""

    bad: tuple[Bad, ...]
    looked: bytes | None
    table_number: bytes | None
    scheduler: bytes | None


def _named(bad: Bad) -> Bad:
    """Mostly a definition says the name under which it is kept."""
    try:
        name = json.dumps(bad.name.decode()).encode()
    except UnicodeDecodeError:
        return bad
    definition = bad.definition and bad.definition.replace(b'"name": "bad"', b'"name": ' + name)
    return replace(bad, definition=definition)


_BADS: Final = st.builds(
    Bad,
    name=_NAMES | st.binary(max_size=8),
    definition=st.none() | _DEFINITIONS | _DEFINITIONS,
    score=st.none() | _SCORES | _SCORES,
    last=_LASTS,
    is_paused=st.sampled_from([False, False, True]),
).map(_named)
PLANTS: Final = st.builds(
    Plant,
    bad=st.lists(_BADS, min_size=1, max_size=6).map(tuple),
    looked=_TEXTS,
    table_number=_TEXTS,
    scheduler=st.none() | st.binary(max_size=5),
)
