"""The task that every worker has, by which `kiqstart ping` sees that one is there."""

from typing import Final

PING: Final = "kiqstart.ping"


async def ping() -> str:
    """Answer `pong`."""
    return "pong"
