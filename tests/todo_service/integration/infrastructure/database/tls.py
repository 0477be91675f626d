"""A PostgreSQL that takes TLS on a port: the session's own, behind a process' end of TLS."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

# SSLRequest: its length, and the code 80877103.
_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


@asynccontextmanager
async def tls_port(socket: Path, certificate: Path, key: Path) -> AsyncGenerator[int]:
    """Take connections as PostgreSQL does, with TLS only, and hand them on to its socket."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    copies: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            if await reader.readexactly(len(_REQUEST)) == _REQUEST:
                writer.write(b"S")
                await writer.start_tls(context)
                there, back = await asyncio.open_unix_connection(socket)
                copies.update({asyncio.create_task(_copy(reader, back)), asyncio.create_task(_copy(there, writer))})
                return
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*copies)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()
