"""Secret keys with an id each, of which the first one is used for what is new."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Final

from kiqstart.observability.redaction import conceal

KEY_BYTES: Final = 32
ID: Final = r"[A-Za-z0-9_.-]{1,32}"
_KEY: Final = re.compile(rf"({ID}):([A-Za-z0-9_+/-]+={{0,2}})")
# 32 random bytes have about 30 different values; a key that a person has made up, or zeros, have few.
_FEWEST_VALUES: Final = 16
_LONGEST: Final = 1024
ADVICE: Final = (
    "write id:key,id:key, each key 32 random bytes as base64, as "
    "`python -c 'import secrets; print(secrets.token_urlsafe(32))'` makes one"
)


class Keyring(Mapping[str, bytes]):
    """Keys by their ids, newest first.

    Args:
        text: `id:key`, one or several with commas between; each key is 32 random bytes as base64.

    Raises:
        ValueError: it is something else; the text names the place and no key.
    """

    def __init__(self, text: str) -> None:
        self._keys: dict[str, bytes] = {}
        for place, part in enumerate(text.split(","), start=1):
            name, key = _key(part.strip(), place)
            if name in self._keys:
                raise ValueError(f"has two keys with the id {name!r}")
            if key in self._keys.values():
                raise ValueError(f"has the key of {name!r} twice")
            self._keys[name] = key
        self.first = next(iter(self._keys))

    def __getitem__(self, name: str) -> bytes:
        return self._keys[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"<Keyring {self.names}>"

    @property
    def names(self) -> str:
        """The ids, to be shown."""
        return ", ".join(self._keys)


def _key(part: str, place: int) -> tuple[str, bytes]:
    found = _KEY.fullmatch(part) if len(part) <= _LONGEST else None
    if found is None:
        raise ValueError(f"has no id and key at place {place}: {ADVICE}")
    name, text = found[1], found[2]
    try:
        key = base64.b64decode(
            text.rstrip("=").translate(_URL_SAFE) + "=" * (-len(text.rstrip("=")) % 4), validate=True
        )
    except binascii.Error:
        raise ValueError(f"has a key {name!r} that is no base64: {ADVICE}") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"has a key {name!r} of {len(key)} bytes, not of {KEY_BYTES}: {ADVICE}")
    if len(set(key)) < _FEWEST_VALUES:
        raise ValueError(f"has a key {name!r} that is not random: {ADVICE}")
    conceal(text)
    return name, key


_URL_SAFE: Final = str.maketrans("-_", "+/")
