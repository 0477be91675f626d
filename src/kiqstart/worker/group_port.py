"""One port for several workers: their parent answers there, by what it asks each of them.

Each worker answers its parent at a port of its own that the parent has chosen, on the loopback address. The figures are
those of all workers, whoever is asked. For health all of them are asked again and again: the group is well if each is.
"""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kiqstart.processes.answer_server import Answer, AnswerServer, Endpoint, Request
from kiqstart.processes.child import Child
from kiqstart.processes.listening import listen_at, say_where

if TYPE_CHECKING:
    import socket

_SECONDS_BETWEEN_QUESTIONS: Final = 3.0
_SECONDS_FOR_AN_ANSWER: Final = 4.0
_SECONDS_FOR_FIGURES: Final = 9.0
_SECONDS_UNTIL_FOUND: Final = 15.0
_SECONDS_TO_START: Final = 60.0
_PATHS: Final = ("/healthz", "/readyz")


@dataclass(kw_only=True)
class _Place:
    child: Child
    address: tuple[str, int]
    heard_at: float = 0.0
    said: Mapping[str, tuple[int, object]] = field(default_factory=dict[str, tuple[int, object]])

    @property
    def is_starting(self) -> bool:
        """Whether its process has not answered yet, or there is none."""
        return self.heard_at < self.child.started_at or not self.child.is_running

    @property
    def is_silent(self) -> bool:
        """Whether its process has not answered for too long."""
        since = max(self.heard_at, self.child.started_at)
        longest = _SECONDS_TO_START if self.is_starting else _SECONDS_UNTIL_FOUND
        return self.child.is_running and time.monotonic() - since >= longest


class GroupPort:
    """Answers for several workers.

    Args:
        host: an address of this machine.
        port: 0 for any that is free.
        workers: how many they are.

    Attributes:
        private: where each of the workers answers.

    Raises:
        CannotListenError: the port is another program's.
    """

    def __init__(self, host: str, port: int, *, workers: int) -> None:
        self._listener = listen_at(host, port)
        self._is_any_port = port == 0
        self.private: Sequence[socket.socket] = [listen_at("127.0.0.1", 0) for _ in range(workers)]
        self._places: list[_Place] = []
        endpoints = {"/metrics": self._figures, **{path: self._health_of(path) for path in _PATHS}}
        self._server = AnswerServer(self._listener, endpoints, beside=self._ask_on)

    def start(self, children: Sequence[Child]) -> None:
        """Begin to answer for these."""
        self._places = [
            _Place(child=child, address=one.getsockname()[:2])
            for child, one in zip(children, self.private, strict=True)
        ]
        self._server.start()
        if self._is_any_port:
            say_where(self._listener)

    def stop(self) -> None:
        """Answer no more."""
        self._server.stop()

    async def _ask_on(self) -> None:
        while True:
            await asyncio.gather(*(self._ask(place) for place in self._places))
            await asyncio.sleep(_SECONDS_BETWEEN_QUESTIONS)

    async def _ask(self, place: _Place) -> None:
        said: dict[str, tuple[int, object]] = {}
        for path in _PATHS:
            answer = await ask(place.address, path, seconds=_SECONDS_FOR_AN_ANSWER)
            if answer is None:
                return
            try:
                said[path] = (answer.status, json.loads(answer.body))
            except ValueError:
                return
        place.said, place.heard_at = said, time.monotonic()

    async def _figures(self, request: Request) -> Answer:
        # Whoever was heard last is the likeliest to answer.
        for place in sorted(self._places, key=lambda one: -one.heard_at):
            accept = request.headers.get("accept", "")
            answer = await ask(place.address, request.path, seconds=_SECONDS_FOR_FIGURES, accept=accept)
            if answer is not None:
                return answer
        return Answer.of_text("no worker answers", status=503)

    def _health_of(self, path: str) -> Endpoint:
        async def answer(_: Request) -> Answer:
            said = {place.child.name: self._health(place, path) for place in self._places}
            has_failed = any(status != 200 for status, _ in said.values())  # noqa: PLR2004  # HTTP's
            workers = {name: one for name, (_, one) in said.items()}
            value = {"status": "failed" if has_failed else "ok", "workers": workers}
            return Answer.of_json(value, status=503 if has_failed else 200)

        return answer

    def _health(self, place: _Place, path: str) -> tuple[int, object]:
        if place.is_silent:
            seconds = time.monotonic() - max(place.heard_at, place.child.started_at)
            return 503, _finding("silent", f"this worker has not answered for {seconds:.0f} s", status="failed")
        if place.is_starting:
            return (503 if path == "/readyz" else 200), _finding("starting", "this worker starts", status="starting")
        return place.said[path]


def _finding(check: str, text: str, *, status: str) -> dict[str, object]:
    return {"status": status, "reasons": [{"check": check, "text": text}], "notes": []}


async def ask(address: tuple[str, int], path: str, *, seconds: float, accept: str = "") -> Answer | None:
    """Ask what answers there; None where nothing does in time.

    Args:
        address: of an `AnswerServer`.
        path: what is asked.
        seconds: for the whole answer.
        accept: the types of content that are accepted.
    """
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(*address)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n".encode("latin-1"))
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
    except (OSError, ValueError):
        return None
    return _read(head.decode("latin-1"), body)


def _read(head: str, body: bytes) -> Answer | None:
    line, *fields = head.split("\r\n")
    words = line.split(" ")
    if len(words) < 2 or not words[1].isdecimal():  # noqa: PLR2004  # a version and a status
        return None
    headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in fields)}
    if int(headers.get("content-length", -1)) != len(body):
        return None
    return Answer(status=int(words[1]), body=body, content_type=headers.get("content-type", ""))
