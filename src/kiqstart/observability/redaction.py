"""Keeps secrets out of whatever is written for people: log lines, stored errors, dead letters, the command line.

Two things are replaced: what `conceal` was told to be a secret, in whatever notation it appears, and what looks like
one: the password in a URL, and the value of a name such as `password`. Text is redacted where it leaves the process, so
a message may be put together without a thought of this.
"""

import json
import re
from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import parse_qsl, quote, quote_plus, urlencode, urlsplit

STAND_IN: Final = "***"
# A shorter one is part of too many words; it is still found in URLs and beside its name.
_SHORTEST: Final = 6

_WORDS: Final = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "private_key",
    "authorization",
)
_NAMES: Final = f"(?:{'|'.join(_WORDS)})"
# What a text, in small letters, holds if one of the patterns may fit: most texts hold none of it.
_SIGNS: Final = ("://", *_WORDS, "bearer", "basic", "failing row")
_QUOTED: Final = rf"\g<1>\g<quote>{STAND_IN}"
_BARE: Final = rf"\g<1>{STAND_IN}"
# Each with what stands in its place.
_PATTERNS: Final = (
    # scheme://user:SECRET@host; a PASSWORD there is how our own messages say what to write
    (re.compile(r"(://[^\s/?#@:\"'<>]*:)(?!(?i:password)@)[^\s/?#\"'<>]+(?=@)"), _BARE),
    # 'password': 'VALUE', "token"="VALUE", also where the quotes are escaped
    (
        re.compile(
            rf"({_NAMES}\\*[\"']?\s*[=:]\s*(?:Secret\w*\()?b?)(?P<quote>\\*[\"'])(?:(?!(?P=quote)).)+(?=(?P=quote))",
            re.IGNORECASE,
        ),
        _QUOTED,
    ),
    # password=VALUE, as in a URL's query or a DSN
    (re.compile(rf"({_NAMES}\s*=\s*)(?![\s\"'\\]|Secret\w*\()[^\s,;&\"'\\()\[\]{{}}<>]+", re.IGNORECASE), _BARE),
    # Authorization: Bearer VALUE
    (re.compile(r"(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), _BARE),
    # What PostgreSQL adds about a row that violates a constraint: all of its values.
    (re.compile(r"(Failing row contains )\(.*\)"), _BARE),
)


class Concealed:
    """Secrets that are known, in each notation in which one may be written."""

    def __init__(self) -> None:
        self._notations: tuple[str, ...] = ()

    def add(self, secret: str) -> None:
        """Know one more."""
        notations = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), repr(secret)[1:-1]}
        notations |= {json.dumps(secret, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False)}
        # The longest first: one may be the beginning of another.
        self._notations = tuple(sorted(notations.union(self._notations), key=len, reverse=True))

    def replace(self, text: str) -> str:
        """The text without them."""
        for notation in self._notations:
            text = text.replace(notation, STAND_IN)
        return text


_CONCEALED: Final = Concealed()


def conceal(secret: str, *, beside: str = "") -> None:
    """Let `redact` replace a secret from now on, in this process.

    The passwords of DATABASE_URL, of REDIS_URL and of a broker's URL are told already. A secret of fewer than six
    characters cannot be told from ordinary text and is passed over.

    Args:
        secret: as it is, without quotes or escapes.
        beside: text that is public, as the rest of a URL is; a secret that stands there too is none.
    """
    if len(secret) >= _SHORTEST and secret not in beside:
        _CONCEALED.add(secret)


def redact_url(url: str) -> str:
    """A URL as it may be shown, without the password before its host and those among its options."""
    try:
        parts = urlsplit(url)
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        return redact(url)
    user, at, place = parts.netloc.rpartition("@")
    query = parts.query
    if any(name.lower().endswith(_WORDS) for name, _ in options):
        query = urlencode([(name, str(redacted_beside(name, value))) for name, value in options], safe="/*")
    # Not `urlunsplit`, which takes the slashes away where there is no host.
    return redact(f"{parts.scheme}://{user.partition(':')[0]}{at}{place}{parts.path}{'?' if query else ''}{query}")


def redact(text: str) -> str:
    """The text, with `***` in the place of each secret."""
    text = _CONCEALED.replace(text)
    small = text.lower()
    for sign in _SIGNS:
        if sign in small:
            break
    else:
        return text
    for pattern, stand_in in _PATTERNS:
        text = pattern.sub(stand_in, text)
    return text


def redacted(value: object) -> object:
    """A value of a log line: text is redacted, also within mappings and sequences; any other object becomes text."""
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return {redact(str(name)): redacted_beside(str(name), one) for name, one in pairs}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(one) for one in cast("list[object]", value)]
    return redact(repr(value))


def redacted_beside(name: str, value: object) -> object:
    """A value as `redacted` has it; nothing of it if its name says that it is a secret."""
    return STAND_IN if value is not None and name.lower().endswith(_WORDS) else redacted(value)
