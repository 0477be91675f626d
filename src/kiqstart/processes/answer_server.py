"""A small HTTP server for probes and collectors.

It runs in a thread with an event loop of its own, so that nothing that blocks another loop silences it. It answers GET
and HEAD, one request a connection.
"""

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from logging import getLogger
from typing import Any, Final

logger = getLogger(__name__)

_MOST_AT_ONCE: Final = 32
_LARGEST_REQUEST: Final = 16 * 1024
_SECONDS_TO_ASK: Final = 5.0
_SECONDS_TO_ANSWER: Final = 10.0
_SECONDS_TO_STOP: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked: a path, and the headers by their names in small letters."""

    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is answered."""

    status: int = 200
    body: bytes
    content_type: str

    @classmethod
    def of_json(cls, value: object, *, status: int = 200) -> "Answer":
        """A value as JSON."""
        body = json.dumps(value, indent=2).encode() + b"\n"
        return cls(status=status, body=body, content_type="application/json; charset=utf-8")

    @classmethod
    def of_text(cls, text: str, *, status: int = 200) -> "Answer":
        """A line of text."""
        return cls(status=status, body=f"{text}\n".encode(), content_type="text/plain; charset=utf-8")


Endpoint = Callable[[Request], Awaitable[Answer]]


class AnswerServer:
    """Answers at an address.

    Args:
        listener: is listened at, and closed at the end.
        endpoints: what answers, by path.
        beside: what goes on in the same event loop for as long as it answers.
    """

    def __init__(
        self,
        listener: socket.socket,
        endpoints: Mapping[str, Endpoint],
        *,
        beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._listener = listener
        self._endpoints = endpoints
        self._beside = beside
        self._at_once = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        self._is_up.wait(_SECONDS_TO_STOP)

    def stop(self) -> None:
        """Answer no more."""
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(stop.set)
        self._thread.join(_SECONDS_TO_STOP)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:
            logger.exception("Probes and collectors are answered no more")
        finally:
            self._is_up.set()
            self._listener.close()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._answer, sock=self._listener, limit=_LARGEST_REQUEST)
        beside = None if self._beside is None else asyncio.create_task(self._beside())
        self._is_up.set()
        try:
            await self._stop.wait()
        finally:
            server.close()
            if beside is not None:
                beside.cancel()
                await asyncio.wait({beside}, timeout=1.0)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._at_once >= _MOST_AT_ONCE:
                return
            self._at_once += 1
            try:
                async with asyncio.timeout(_SECONDS_TO_ASK + _SECONDS_TO_ANSWER):
                    await self._answer_in_time(reader, writer)
            finally:
                self._at_once -= 1
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # Whoever asks has gone, says nothing, or says too much.
            return
        finally:
            writer.close()

    async def _answer_in_time(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_SECONDS_TO_ASK):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.rstrip("\r\n").split("\r\n")
        method, target, _ = line.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in fields)}
        answer = await self._find(method, Request(path=target.partition("?")[0], headers=headers))
        phrase = HTTPStatus(answer.status).phrase
        lines = (
            f"HTTP/1.1 {answer.status} {phrase}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(answer.body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
        )
        writer.write("\r\n".join((*lines, "", "")).encode("latin-1"))
        if method != "HEAD":
            writer.write(answer.body)
        await writer.drain()

    async def _find(self, method: str, request: Request) -> Answer:
        if method not in ("GET", "HEAD"):
            return Answer.of_text("only GET is answered here", status=405)
        endpoint = self._endpoints.get(request.path)
        if endpoint is None:
            return Answer.of_text(f"there are: {' '.join(self._endpoints)}", status=404)
        try:
            async with asyncio.timeout(_SECONDS_TO_ANSWER):
                return await endpoint(request)
        except TimeoutError:
            return Answer.of_text("no answer in time", status=503)
        except Exception:
            logger.exception("%s cannot be answered", request.path)
            return Answer.of_text("the log of this process says why this cannot be answered", status=500)
