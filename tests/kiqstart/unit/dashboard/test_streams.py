from collections.abc import AsyncIterator
from typing import cast

import pytest
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from kiqstart.dashboard import streams as module
from kiqstart.dashboard.streams import Streams


def request(accept: str = "text/event-stream") -> Request:
    return Request({"type": "http", "headers": [(b"accept", accept.encode())]})


def parts_of(response: Response) -> AsyncIterator[str]:
    assert isinstance(response, StreamingResponse)
    return cast("AsyncIterator[str]", response.body_iterator)


async def test_a_page_is_sent_when_it_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LOOKS", 0.001)
    pages = iter([HTMLResponse("<p>1\n</p>"), HTMLResponse("<p>1\n</p>"), HTMLResponse("2"), HTMLResponse("", 503)])

    async def page(_: Request) -> Response:
        return next(pages)

    found = [part async for part in parts_of(await Streams().live(page)(request()))]
    assert found == ["retry: 1000\n\n", "data: <p>1\ndata: </p>\n\n", "data: 2\n\n"]


async def test_streams_are_bounded_and_end_with_the_server() -> None:
    async def page(_: Request) -> Response:
        return HTMLResponse("1")

    streams = Streams(most=1)
    look = streams.live(page)
    assert (await look(request("text/html"))).body == b"1"
    first = parts_of(await look(request()))
    await anext(first)
    assert (await look(request())).status_code == 204
    assert await anext(first) == "data: 1\n\n"
    streams.close()
    assert [part async for part in first] == []
    assert (await look(request())).status_code == 204


async def test_what_is_no_page_is_no_stream() -> None:
    async def page(_: Request) -> Response:
        return Response(headers={"hx-redirect": "/login"})

    assert "hx-redirect" in (await Streams().live(page)(request())).headers
