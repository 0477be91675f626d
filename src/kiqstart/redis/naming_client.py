"""A client whose errors say which key holds something of another type: Redis says only that one does."""

from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

_FOREIGN_TYPE: Final = "WRONGTYPE"
_NAMED: Final = " (key "


class NamingRedis(Redis):
    """redis-py's client, whose `WRONGTYPE` names the key of the command."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401  # as redis-py has it
        """Send a command.

        Raises:
            RedisError: Redis refuses it, or is away.
        """
        try:
            return await cast("Any", super().execute_command(*args, **options))
        except ResponseError as error:
            text = str(error)
            if _FOREIGN_TYPE not in text or _NAMED in text or (key := _key_of(args)) is None:
                raise
            raise ResponseError(f"{text}{_NAMED}{key})") from None


def _key_of(command: tuple[Any, ...]) -> str | None:
    """The only key of a command; None where it may have several."""
    name = str(command[0]).upper()
    if name.startswith("EVAL"):
        return _text(command[3]) if command[2] == 1 else None
    return _text(command[1]) if len(command) > 1 and not name.startswith("XREAD") else None


def _text(key: object) -> str:
    return key.decode(errors="replace") if isinstance(key, bytes) else str(key)
