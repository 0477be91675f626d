"""Why a server ends a connection before it has logged in: it often says so, and closes before it is asked anything."""

import asyncio
from typing import Final

from redis.asyncio.connection import AbstractConnection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

# What begins an alert of TLS, to whoever does not speak it.
_TLS_ALERT: Final = b"\x15\x03"
_ALERT_READ: Final = r'"\x15" as reply'
_SPEAKS_TLS: Final = "The server speaks TLS: write rediss:// (sentinels://, clusters://)"
_CLOSED: Final = "The server closed the connection"
_ANSWER: Final = b"-ERR "


class RefusalReadingConnection(AbstractConnection):
    """A connection of redis-py whose error, where it is ended while it logs in, has the server's own words."""

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """Log in.

        Raises:
            redis.exceptions.ConnectionError: the server ends the connection; with its reason, if it has said one.
        """
        # redis-py forgets it with the connection, and does not read what came before it was closed.
        reader = self._reader
        try:
            await super().on_connect_check_health(check_health=check_health)
        except InvalidResponse as error:
            if _ALERT_READ not in str(error):
                raise
            raise self._error(_SPEAKS_TLS) from error
        except RedisConnectionError as error:
            if type(error) is not RedisConnectionError:
                raise
            if not self._is_ended(error):
                raise self._error(str(error)) from error
            said = b"" if reader is None else bytes(getattr(reader, "_buffer", b""))
            raise self._error(self._reason(said)) from error

    def _error(self, reason: str) -> RedisConnectionError:
        return RedisConnectionError(f"Error connecting to {self._host_error()}. {reason}")

    def _is_ended(self, error: RedisConnectionError) -> bool:
        cause = error.__cause__ or error.__context__
        return isinstance(cause, OSError | asyncio.IncompleteReadError) or "closed by server" in str(error)

    def _reason(self, said: bytes) -> str:
        if said.startswith(_ANSWER):
            return said.partition(b"\r")[0].removeprefix(_ANSWER).decode(errors="replace")
        if isinstance(self, SSLConnection | UnixDomainSocketConnection):
            return _CLOSED
        if said.startswith(_TLS_ALERT):
            return _SPEAKS_TLS
        return f"{_CLOSED}; if it speaks TLS, write rediss:// (sentinels://, clusters://)"
