"""What strangers send: texts, numbers, bytes and JSON that something somewhere may stumble over."""

import json
from typing import Any, Final, TypeVar

from hypothesis import strategies as st

Key = TypeVar("Key")

BAIT: Final = "tests.fuzz.bait"
# A module that nothing imports.
TRAP: Final = "tests.fuzz.trap"
# What would do harm where text is run, formatted, unpickled, imported, opened, or put into SQL or a command line.
_BAITS: Final = (
    "{x.__class__.__init__.__globals__}",
    "{0.__class__}",
    "{:>3000000}",
    "%s%n%(x)d",
    "${jndi:ldap://127.0.0.1:1/a}",
    f"__import__('{TRAP}')",
    f"{TRAP}:spring",
    f"{BAIT}:Trap",
    "'; DROP TABLE users; --",
    "$(touch sprung)",
    "`touch sprung`; touch sprung",
    "../../../../etc/passwd",
    "/dev/zero",
    "file:///etc/passwd",
    f"cposix\nsystem\n(S'touch sprung'\ntR.{BAIT}",
)
_SIGHTS: Final = (
    *("", " ", "\n", "\r\n", "\0", "\x1b[2J\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\u202eevil", "\u2028", "\ufeff"),
    *(
        "\x7f",
        "a\tb",
        "bad\n2026-11-30 [error] forged",
        "\U0001f600",
        "é\u0301",
        "<script>",
        "[red]x[/red]",
        "[/]",
        "[link=x]",
    ),
    *("--help", "-x", "--", "*", "?", "{", "}", "{}", "{kiqstart}", ":", "::", "@", "#", "=", "null", "None", "true"),
)
_LONG: Final = ("n" * 10_000, "9" * 5000, "-" + "9" * 5000, "[" * 3000, "\u0100" * 5000)
_NUMBERS_AS_TEXT: Final = (
    *(
        "0",
        "-0",
        "-1",
        "1",
        "2",
        "1e306",
        "1e400",
        "-1e400",
        "nan",
        "inf",
        "-inf",
        "0x10",
        "1_000",
        "٣",
        "1.5",
        "-1e-400",
    ),
    *(str(2**31), str(2**53 + 1), str(2**63), str(-(2**63) - 1), str(2**64), "1e18", "253402300800000"),
)
TEXTS: Final[st.SearchStrategy[str]] = st.one_of(
    st.sampled_from(_BAITS),
    st.sampled_from(_SIGHTS),
    st.sampled_from(_NUMBERS_AS_TEXT),
    st.sampled_from(_LONG),
    st.text(max_size=12),
    st.text(st.characters(max_codepoint=0x9F), max_size=12),
)
"""As UTF-8 and a terminal may have them."""
ANY_TEXTS: Final = TEXTS | st.sampled_from(["\ud800", "a\udcffb", "\udfff\ud800"])
"""As JSON may have them: with lone surrogates."""
BYTES: Final[st.SearchStrategy[bytes]] = st.one_of(
    TEXTS.map(str.encode),
    st.binary(max_size=24),
    st.sampled_from([b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\x80\x04.", b"\x00" * 9, b"{" * 5000]),
)
NUMBERS: Final[st.SearchStrategy[Any]] = st.one_of(
    st.sampled_from([0, -1, 1, 2, 1.5, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 1e306, -1e306, 1e18]),
    st.sampled_from([float("nan"), float("inf"), float("-inf"), -0.0, 5e-324]),
    st.integers(-5, 5),
    st.floats(),
)
LEAVES: Final[st.SearchStrategy[Any]] = st.none() | st.booleans() | NUMBERS | ANY_TEXTS
JSON: Final[st.SearchStrategy[Any]] = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXTS, inner, max_size=3), max_leaves=5
)
DEEP: Final = b"[" * 50_000 + b"]" * 50_000


def as_json(value: object) -> bytes:
    """As Python writes it, with NaN and lone surrogates as escapes."""
    return json.dumps(value).encode()


def cut(data: bytes, place: int, put: bytes) -> bytes:
    """Bytes with others in the place of some in the middle."""
    at = place % (len(data) + 1)
    return data[:at] + put + data[at + len(put) // 2 :]


def damaged(sound: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Sound bytes, of which a few are others."""
    return st.builds(cut, sound, st.integers(0, 2000), st.binary(max_size=4))


def seldom(
    some: st.SearchStrategy[dict[Key, Any]],
) -> st.SearchStrategy[dict[Key, Any]]:
    """Nothing, half of the time."""
    return st.builds(dict[Key, Any]) | some


def changed(valid: dict[str, Any], fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """A valid object in which some fields are odd, missing, or of nobody's."""

    def change(changes: dict[str, Any], missing: set[str], more: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in {**valid, **more, **changes}.items() if name not in missing}

    return st.builds(
        change,
        st.fixed_dictionaries({}, optional=fields),
        st.sets(st.sampled_from(sorted(valid)), max_size=1) | st.just(set[str]()),
        seldom(st.dictionaries(TEXTS, LEAVES, max_size=2)),
    )
