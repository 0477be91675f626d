"""Chromium without a window, driven by its own protocol over two pipes."""

import asyncio
import json
import os
import shutil
import sys
from asyncio.subprocess import DEVNULL
from base64 import b64decode
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, cast

from tests.deadlines import HANG

from kiqstart.testing import eventually

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
_OPTIONS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
# It reads what it is to do from 3, and writes to 4.
_LAUNCHER: Final = (
    "import fcntl, os, sys\n"
    "here, there = (fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3])\n"
    "os.dup2(here, 3); os.dup2(there, 4)\n"
    "os.execv(sys.argv[3], sys.argv[3:])\n"
)
_LONGEST_MESSAGE: Final = 64 * 1024 * 1024
_KEYS: Final = {"Tab": (9, ""), "Enter": (13, "\r")}
_FIND: Final = """(kind, name) => [...document.querySelectorAll(kind)].find(
    (one) => one.checkVisibility() && (one.labels?.[0] ?? one).textContent.trim() === name)"""


class DevToolsError(Exception):
    """Chromium has refused something."""


class Connection:
    """Sends commands to Chromium, and hears what happens."""

    def __init__(self, reader: asyncio.StreamReader, send: Callable[[bytes], None]) -> None:
        self._reader = reader
        self._send = send
        self._number = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.events: list[dict[str, Any]] = []

    async def call(self, method: str, /, session: str | None = None, **parameters: object) -> dict[str, Any]:
        """Give a command, and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        answer = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = answer
        self._send(json.dumps(message).encode() + b"\0")
        return cast("dict[str, Any]", await asyncio.wait_for(answer, HANG))

    async def listen(self) -> None:
        """Take answers and events until Chromium ends."""
        with suppress(asyncio.IncompleteReadError):
            while True:
                message = json.loads((await self._reader.readuntil(b"\0"))[:-1])
                answer = self._waiting.pop(message.get("id"), None)
                if answer is None:
                    self.events.append(message)
                elif "error" in message:
                    answer.set_exception(DevToolsError(message["error"]["message"]))
                else:
                    answer.set_result(message["result"])


class Tab:
    """A page in Chromium, used with a mouse or with a keyboard alone."""

    def __init__(self, connection: Connection, session: str) -> None:
        self._connection = connection
        self._session = session

    @property
    def complaints(self) -> list[str]:
        """What Chromium has found wrong: errors of scripts, what the page's policy forbids, what was not found."""
        return [
            json.dumps(one["params"])
            for one in self._connection.events
            if one["method"] == "Runtime.exceptionThrown"
            or (one["method"] == "Log.entryAdded" and one["params"]["entry"]["level"] == "error")
        ]

    def events(self, method: str) -> list[dict[str, Any]]:
        """What has happened of a kind."""
        return [one for one in self._connection.events if one["method"] == method]

    async def call(self, method: str, /, **parameters: object) -> dict[str, Any]:
        """Give a command for this page."""
        return await self._connection.call(method, self._session, **parameters)

    async def go(self, address: str) -> None:
        """Load a page."""
        await self.call("Page.navigate", url=address)
        await self.sees("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def leave(self) -> None:
        """Load nothing in the place of a page, which then asks for nothing any more."""
        await self.call("Page.navigate", url="about:blank")
        await self.sees("location.href === 'about:blank'")

    async def evaluate(self, expression: str) -> Any:  # noqa: ANN401  # whatever the page says
        """What an expression is in the page."""
        options = {"returnByValue": True, "awaitPromise": True}
        answer = await self.call("Runtime.evaluate", expression=expression, **options)
        if "exceptionDetails" in answer:
            raise DevToolsError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    async def sees(self, expression: str) -> None:
        """Wait until an expression is true in the page that is shown."""

        async def is_true() -> bool:
            # A page that is left takes the answer with it.
            with suppress(DevToolsError):
                return bool(await self.evaluate(expression))
            return False

        await eventually(is_true)

    async def reads(self, text: str) -> None:
        """Wait until the page says something."""
        await self.sees(f"document.body.innerText.includes({json.dumps(text)})")

    async def click(self, kind: str, name: str) -> None:
        """Click on a link, a button or a field."""
        place = await self.evaluate(
            f"""(() => {{ const found = ({_FIND})({json.dumps(kind)}, {json.dumps(name)});
            found.scrollIntoView({{block: "center"}}); const box = found.getBoundingClientRect();
            return {{x: box.x + box.width / 2, y: box.y + box.height / 2}}; }})()"""
        )
        for event in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=event, button="left", clickCount=1, **place)

    async def press(self, key: str) -> None:
        """Press a key."""
        code, text = _KEYS[key]
        named = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **named)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    async def tab_to(self, kind: str, name: str) -> None:
        """Press Tab until something has the focus."""
        wanted = f"document.activeElement === ({_FIND})({json.dumps(kind)}, {json.dumps(name)})"
        for _ in range(200):
            if await self.evaluate(wanted):
                return
            await self.press("Tab")
        raise AssertionError(f"no way to {kind} {name!r} by Tab")

    async def type(self, text: str) -> None:
        """Type into the field that has the focus."""
        await self.call("Input.insertText", text=text)

    async def show(self, *, width: int, height: int = 800, is_dark: bool = False) -> None:
        """Look at it in a window of this size, as a phone or a desktop in the dark would."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self) -> bytes:
        """What is seen, as PNG."""
        answer = await self.call("Page.captureScreenshot", format="png", optimizeForSpeed=False)
        return b64decode(answer["data"])


@asynccontextmanager
async def chromium(profile: Path) -> AsyncGenerator[Tab]:
    """Start Chromium with a new profile, and open a page."""
    assert CHROMIUM is not None
    command_end, ours = os.pipe()
    answers, answer_end = os.pipe()
    arguments = (*_OPTIONS, f"--user-data-dir={profile}", "about:blank")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _LAUNCHER, str(command_end), str(answer_end), CHROMIUM, *arguments),
        pass_fds=(command_end, answer_end), stdout=DEVNULL, stderr=DEVNULL, start_new_session=True,
    )  # fmt: skip
    os.close(command_end)
    os.close(answer_end)
    reader = asyncio.StreamReader(limit=_LONGEST_MESSAGE)
    loop = asyncio.get_running_loop()
    incoming, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(answers, "rb"))
    outgoing, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(ours, "wb"))
    connection = Connection(reader, outgoing.write)
    listening = asyncio.create_task(connection.listen())
    try:
        target = (await connection.call("Target.createTarget", url="about:blank"))["targetId"]
        answer = await connection.call("Target.attachToTarget", targetId=target, flatten=True)
        tab = Tab(connection, answer["sessionId"])
        for room in ("Page", "Runtime", "Log", "Network"):
            await tab.call(f"{room}.enable")
        yield tab
    finally:
        with suppress(DevToolsError, TimeoutError):
            await connection.call("Browser.close")
        if process.returncode is None:
            await asyncio.wait_for(process.wait(), HANG)
        outgoing.close()
        incoming.close()
        await listening
