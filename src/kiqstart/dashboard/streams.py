"""Live pages: a page that is open is sent again by the server, over a stream, when it has changed.

A stream asks for its page as a browser would, every two seconds: the login holds for each of these times, and what is
read is shared (`looks`), so that many streams ask Redis no more than one. There is a bound on their number; a browser
that gets none, or whose stream breaks, asks for its page every three seconds instead. A server that ends must end them,
or it would wait for them: a dashboard that is mounted in another application does not hear of that end, and has none.
"""

import asyncio
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from kiqstart.dashboard.guards import Endpoint

MOST: Final = 50
_SECONDS_BETWEEN_LOOKS: Final = 2.0
_MEDIA_TYPE: Final = "text/event-stream"
# After how many milliseconds a browser opens it again.
_RETRY: Final = "retry: 1000\n\n"


class Streams:
    """The open streams of a server.

    Args:
        most: how many there may be at once.
    """

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._open = 0
        self._is_closed = asyncio.Event()

    def close(self) -> None:
        """End all of them, and open no more; to be called in the server's event loop."""
        self._is_closed.set()

    def live(self, page: Endpoint) -> Endpoint:
        """A page that is sent over a stream where that is asked for."""

        async def answer(request: Request) -> Response:
            first = await page(request)
            if _MEDIA_TYPE not in request.headers.get("accept", "") or not _is_page(first):
                return first
            if self._open >= self._most or self._is_closed.is_set():
                # By which a browser knows that there is none for it.
                return Response(status_code=HTTPStatus.NO_CONTENT)
            return StreamingResponse(self._stream(request, page, first), media_type=_MEDIA_TYPE)

        return answer

    async def _stream(self, request: Request, page: Endpoint, response: Response) -> AsyncGenerator[str]:
        self._open += 1
        try:
            yield _RETRY
            sent = b""
            # A problem ends the stream: the browser asks for the page, and shows what is wrong.
            while _is_page(response):
                body = bytes(response.body)
                if body != sent:
                    yield _event(body.decode())
                    sent = body
                if await self._is_closed_within(_SECONDS_BETWEEN_LOOKS):
                    return
                response = await page(request)
        finally:
            self._open -= 1

    async def _is_closed_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._is_closed.wait(), seconds)
        except TimeoutError:
            return False
        return True


def _is_page(response: Response) -> bool:
    return response.status_code == HTTPStatus.OK and isinstance(response, HTMLResponse)


def _event(text: str) -> str:
    return "".join(f"data: {line}\n" for line in text.splitlines()) + "\n"
