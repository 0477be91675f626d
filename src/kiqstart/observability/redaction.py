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
# Where a text was cut there may be a part of a secret, which nothing tells from other text: so many characters go.
_OF_A_CUT: Final = 300

# What names of secrets end with, without the `_` or `-` between their parts.
_WORDS: Final = (
    *("password", "passwd", "passphrase", "secret", "token", "apikey", "privatekey", "secretkey", "accesskey"),
    *("authorization", "rediscliauth"),
)
_NAMES: Final = (
    "(?:passw(?:or)?d|passphrase|(?:api|private|secret|access)[_-]?key|secret|token|authorization|rediscli_auth)"
)
# Where a value ends that is in no quotes.
_END: Final = r"\s,;&\"'\\()\[\]{}<>"
_QUOTED: Final = rf"\g<1>\g<quote>{STAND_IN}"
_BARE: Final = rf"\g<1>{STAND_IN}"
_Rules = tuple[tuple[re.Pattern[str], str], ...]

_URLS: Final[_Rules] = (
    # scheme://user:SECRET@host; a PASSWORD there is how our own messages say what to write
    (re.compile(r"(//[^\s/?#:\"'<>]*:)(?!(?i:password)@)[^\s/?#\"'<>]+(?=@)"), _BARE),
    # The same where the secret has a / ? or #, or where the text was cut behind it: what stands there is no port.
    (
        re.compile(
            r"(://[^\s/?#:\[\"'<>]*:)(?!\d{1,5}(?![\w.~%+-])|(?i:password|port)\b)"
            r"(?:[^\s\"'<>@]{1,300}(?=@)|[^\s/?#\"'<>,;)\]}]+)"
        ),
        _BARE,
    ),
)
_VALUES: Final[_Rules] = tuple(
    (re.compile(pattern, re.IGNORECASE), stand_in)
    for pattern, stand_in in (
        # 'password': 'VALUE', "token"="VALUE", also where the text was cut before the other quote
        (
            rf"({_NAMES}[\"']?\s*(?:[=:]|%3D)\s*(?:Secret\w*\()?b?)(?P<quote>[\"'])(?:\\.|(?!(?P=quote))[^\\\n])+",
            _QUOTED,
        ),
        # The same where the quotes are escaped
        (
            rf"({_NAMES}\\*[\"']?\s*[=:]\s*(?:Secret\w*\()?b?)(?P<quote>\\+[\"'])(?:(?!(?P=quote)).)+(?=(?P=quote))",
            _QUOTED,
        ),
        # Pairs, and arguments of a command: the name, a comma and the value, each in quotes
        (rf"((?:\(b?|--)[\"']?[\w-]{{0,40}}{_NAMES}[\"'],\s*b?)(?P<quote>[\"'])(?:(?!(?P=quote)).)+", _QUOTED),
        # password=VALUE, as in a URL's query or a DSN
        (rf"({_NAMES}\s*(?:=|%3D)\s*)(?![\s\"'\\]|b[\"']|Secret\w*\()[^{_END}]+", _BARE),
        # password: VALUE and --password VALUE; what has no digit is taken for a sentence
        (
            rf"({_NAMES}[\"']?\s*:\s*|--[\w-]{{0,40}}{_NAMES}\s+)(?=[^\d{_END}]{{0,60}}\d)[^{_END}]{{4,}}",
            _BARE,
        ),
    )
)
_HEADERS: Final[_Rules] = (
    # The header with whatever scheme, then two schemes without the header
    (re.compile(r"(authorization[\"']?\s*[:=]\s*[\"']?(?:[a-z-]+\s+)?)(?![\"'\s])[^\n\"']+", re.IGNORECASE), _BARE),
    (re.compile(r"(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), _BARE),
)
_ROWS: Final[_Rules] = (
    # What PostgreSQL adds about a row that violates a constraint: all of its values.
    (re.compile(r"(Failing row contains )\((?:.{0,2000}\)|.*)"), _BARE),
    # What SQLAlchemy adds of an engine that does not hide them.
    (re.compile(r"(\[parameters: )[\[({](?:.{0,2000}[\])}](?=\])|.*)"), _BARE),
)
_KEYS: Final = tuple(f"{name}{part}key" for name in ("api", "access", "private") for part in ("", "_", "-"))
# Each with what a text has, in small letters, to which they may apply; most texts have none of it.
_RULES: Final[tuple[tuple[tuple[str, ...], _Rules], ...]] = (
    (("//",), _URLS),
    (("passw", "passphrase", "secret", "token", "authorization", "rediscli_auth", *_KEYS), _VALUES),
    (("bearer", "basic", "authorization"), _HEADERS),
    (("failing row", "[parameters: "), _ROWS),
)
_PERCENT: Final = re.compile("%[0-9A-F]{2}")


def _lower(found: re.Match[str]) -> str:
    return found[0].lower()


class Concealed:
    """Secrets that are known, in each notation in which one may be written."""

    def __init__(self) -> None:
        self._notations: tuple[str, ...] = ()

    def add(self, secret: str) -> None:
        """Know one more."""
        # Whoever has bytes in an environment that are no UTF-8 has lone surrogates here.
        data = secret.encode(errors="backslashreplace")
        notations = {secret, quote(data, safe=""), quote(data), quote_plus(data), repr(secret)[1:-1]}
        notations |= {json.dumps(secret, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False)}
        notations |= {repr(data)[2:-1], _PERCENT.sub(_lower, quote(data, safe=""))}
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

    Raises:
        TypeError: it is no text.
    """
    # Bytes would be kept, and found in no text.
    if not isinstance(secret, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller's types are checked
        raise TypeError(f"conceal(…): a secret is text, not a value of the type {type(secret).__name__}")
    if len(secret) >= _SHORTEST and secret not in beside:
        _CONCEALED.add(secret)


def redact_url(url: str) -> str:
    """A URL as it may be shown, without the password before its host and those among its options."""
    try:
        parts = urlsplit(url)
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        return redact(url)
    if not parts.scheme:
        # Whatever it is, it was meant for something else.
        return STAND_IN
    user, at, place = parts.netloc.rpartition("@")
    query = parts.query
    if any(is_secret_name(name) for name, _ in options):
        query = urlencode([(name, str(redacted_beside(name, value))) for name, value in options], safe="/*")
    # Not `urlunsplit`, which takes the slashes away where there is no host.
    return redact(f"{parts.scheme}://{user.partition(':')[0]}{at}{place}{parts.path}{'?' if query else ''}{query}")


def redact(text: str) -> str:
    """The text, with `***` in the place of each secret."""
    text = _CONCEALED.replace(text)
    small = text.lower()
    for signs, rules in _RULES:
        for sign in signs:
            if sign in small:
                for pattern, stand_in in rules:
                    text = pattern.sub(stand_in, text)
                break
    return text


def redact_beginning(text: str, most: int) -> str:
    """Up to `most` characters of a redacted text's beginning; no more than twice as many are looked at."""
    return (redact(text) if len(text) <= 2 * most else redact(text[: 2 * most])[:-_OF_A_CUT])[:most]


def redact_end(text: str, most: int) -> str:
    """The same of its end."""
    return (redact(text) if len(text) <= 2 * most else redact(text[-2 * most :])[_OF_A_CUT:])[-most:]


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
    return STAND_IN if value is not None and is_secret_name(name) else redacted(value)


def is_secret_name(name: str) -> bool:
    """Whether a value of that name is to be hidden, whatever it is."""
    return name.lower().replace("_", "").replace("-", "").endswith(_WORDS)
