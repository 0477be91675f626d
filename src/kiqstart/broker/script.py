"""The Lua scripts that change state in Redis, each in one atomic step."""

import hashlib
import re
from collections.abc import Awaitable, Sequence
from functools import cache, cached_property
from importlib.resources import files
from typing import ClassVar, Final, Generic, TypeVar, cast

from redis.exceptions import NoScriptError, ResponseError

from kiqstart.redis.commands import BlockingScriptClient, ScriptClient, Value

_ROOMS: Final = files("kiqstart")
# Read at once, as the scripts are: an update of the package meanwhile would mix versions.
_LIBRARY: Final = (_ROOMS / "broker" / "lua" / "library.lua").read_text()
# A definition of the library, with the comment above it; blank lines stand between definitions only.
_BETWEEN_DEFINITIONS: Final = re.compile(r"\n{2,}(?=local |--)")
_DEFINITION: Final = re.compile(r"^local (?:function )?(\w+)", re.MULTILINE)
_WORD: Final = re.compile(r"\w+")
# Of `redis.call` and of a script's own functions around it.
_COMMAND: Final = re.compile(r"\b\w+\('([A-Z]{3,})'(?:, '(CREATE|DELCONSUMER|CONSUMERS|USAGE)')?")
# Every script is given its time, also one that does not look at it.
_TAKE_TIME: Final = "table.remove(ARGV)"
# Which line an error comes from, which key stands there, and which place among the keys the shared ones begin at.
_LINE: Final = re.compile(r"user_script:(\d+)")
_KEY: Final = re.compile(r"'[A-Z]+', (?:keys\.(\w+)|KEYS\[(\d+)\])")
_FIRST_SHARED: Final = re.compile(r"= shared_keys\((\d+)\)")
_FOREIGN_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"
_SHARED: Final = ("uniques", "places", "delayed", "messages", "cancelled", "dead", "dropped")

Answer = TypeVar("Answer")


class ScriptClock:
    """The time that scripts are given as their last argument; '' lets Redis take its own. A simulation sets it."""

    now: ClassVar[str] = ""


class Script(Generic[Answer]):
    """A file of a folder `lua`, sent whole only to a Redis that does not know it yet.

    `Script[list[bytes]]("letter_ids")` says what it returns; a tuple there is a list with these places.

    Args:
        name: the file's name without `.lua`.
        package: the package whose folder it is in.
    """

    def __init__(self, name: str, package: str = "broker") -> None:
        self._own_text = (_ROOMS / package / "lua" / f"{name}.lua").read_text()

    # Both are made when they are asked for: a process that only sends needs few of the scripts.
    @cached_property
    def _text(self) -> str:
        return _with_library(self._own_text)

    @cached_property
    def _sha(self) -> str:
        return hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    @property
    def commands(self) -> frozenset[str]:
        """The commands that it may run, as an ACL names them: `xadd`, `xgroup|create`."""
        return frozenset("|".join(filter(None, found)).lower() for found in _COMMAND.findall(self._text))

    async def __call__(self, redis: ScriptClient, keys: Sequence[str], arguments: Sequence[Value]) -> Answer:
        """Run it with an async client, and give what it returns."""
        try:
            try:
                answer = await redis.evalsha(self._sha, len(keys), *keys, *arguments, ScriptClock.now)
            except NoScriptError:
                answer = await redis.eval(self._text, len(keys), *keys, *arguments, ScriptClock.now)
        except ResponseError as error:
            raise self._named(error, keys) from None
        return cast("Answer", answer)

    def begin(self, redis: ScriptClient, keys: Sequence[str], arguments: Sequence[Value]) -> Awaitable[Answer]:
        """Run it where Redis knows it already, and begin at once; otherwise what is awaited is a `NoScriptError`."""
        begun = redis.evalsha(self._sha, len(keys), *keys, *arguments, ScriptClock.now)
        return cast("Awaitable[Answer]", begun)

    def in_thread(self, redis: BlockingScriptClient, keys: Sequence[str], arguments: Sequence[Value]) -> Answer:
        """Run it with a client that blocks, and give what it returns."""
        try:
            try:
                answer = redis.evalsha(self._sha, len(keys), *keys, *arguments, ScriptClock.now)
            except NoScriptError:
                answer = redis.eval(self._text, len(keys), *keys, *arguments, ScriptClock.now)
        except ResponseError as error:
            raise self._named(error, keys) from None
        return cast("Answer", answer)

    def _named(self, error: ResponseError, keys: Sequence[str]) -> ResponseError:
        """The error; where a key holds something else, with that key, which Redis does not say."""
        text = str(error)
        line = _LINE.search(text)
        if "WRONGTYPE" not in text or "(key " in text or line is None:
            return error
        used = _KEY.search("".join(self._text.split("\n")[int(line[1]) - 1 :][:1]))
        first = _FIRST_SHARED.search(self._text)
        if used is None or (used[1] is not None and (first is None or used[1] not in _SHARED)):
            return error
        place = int(used[2]) if used[1] is None else int(cast("re.Match[str]", first)[1]) + _SHARED.index(used[1])
        return ResponseError(f"{_FOREIGN_TYPE} (key {keys[place - 1]})")


def _with_library(text: str) -> str:
    """A script with what it uses of the library, and no more: Redis runs all definitions with each call."""
    kept, used = [text], set(_WORD.findall(text))
    for block, name, words in reversed(_definitions()):
        if name in used or _TAKE_TIME in block:
            kept.append(block)
            used |= words
    return "\n\n".join(reversed(kept))


@cache
def _definitions() -> Sequence[tuple[str, str | None, frozenset[str]]]:
    """Those of the library, each with its name and all words in it."""
    blocks = _BETWEEN_DEFINITIONS.split(_LIBRARY)
    names = [_DEFINITION.search(block) for block in blocks]
    return [
        (block, name and name[1], frozenset(_WORD.findall(block))) for block, name in zip(blocks, names, strict=True)
    ]
