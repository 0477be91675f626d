"""`kiqstart shell`: an async Python prompt on the running service."""

import ast
import asyncio
import code
import inspect
import sys
import types
from collections.abc import Coroutine, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any, Final, TypeVar

from kiqstart.app import App
from kiqstart.app_place import project_folder
from kiqstart.cli.application import application
from kiqstart.cli.terminal import shown_lines
from kiqstart.trust import UntrustedPathError, check_trusted

T = TypeVar("T")

_BANNER: Final = """\
Python {python}; `await` works at the prompt.

  app        the application, with its broker and scheduler
  registry   {tasks}
  {names}
  task = await {task}.kiq()
  await task.result(timeout=10)

A task runs where a worker does: `kiqstart worker` in another terminal, or `kiqstart up`. Ctrl-D ends this.
"""


def run_shell() -> int:
    """Run the prompt, or the lines from a pipe until one raises; return 0, or 1 where one raised."""
    loop = asyncio.new_event_loop()
    # The prompt blocks its thread, so connections and background tasks live in another one.
    thread = Thread(target=loop.run_forever, name="shell", daemon=True)
    thread.start()
    try:
        app = application()
        _result(app.broker.startup(), loop)
        try:
            return _run_console(AsyncConsole(_names(app), loop), app)
        finally:
            _result(_cancel_background_tasks(), loop)
            _result(app.broker.shutdown(), loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class AsyncConsole(code.InteractiveConsole):
    """Python's console, with `await` at the top level, on an event loop in another thread."""

    def __init__(self, names: dict[str, object], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(names)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self.has_failed = False
        self._loop = loop
        self._running: asyncio.Task[object] | None = None

    def runcode(self, code: types.CodeType) -> None:
        """Run what was typed on the loop; Ctrl-C cancels it."""
        run = asyncio.run_coroutine_threadsafe(self._run(code), self._loop)
        try:
            error = run.result()
        except KeyboardInterrupt:
            self._loop.call_soon_threadsafe(self._cancel)
            run.result()
            self.write("\nKeyboardInterrupt\n")
            return
        if isinstance(error, SystemExit):
            raise error
        if error is not None:
            self._show(error)

    def showtraceback(self) -> None:
        """Show the exception that is being handled."""
        self.has_failed = True
        super().showtraceback()

    def showsyntaxerror(self, filename: str | None = None, **options: str) -> None:
        """Show the syntax error that is being handled."""
        self.has_failed = True
        super().showsyntaxerror(filename, **options)

    def write(self, data: str) -> None:
        """Print a traceback or a notice."""
        super().write(shown_lines(data))

    def _show(self, error: BaseException) -> None:
        traceback = error.__traceback__
        try:
            # Without the frame of `_run`; the console drops the one of this method.
            raise error.with_traceback(traceback and traceback.tb_next)  # noqa: TRY301  # the console shows what is raised
        except BaseException:  # noqa: BLE001  # a CancelledError, too
            self.showtraceback()

    def _cancel(self) -> None:
        if self._running is not None:
            self._running.cancel()

    async def _run(self, code: types.CodeType) -> BaseException | None:
        # Exceptions are returned: a SystemExit raised in the loop would end it.
        self._running = asyncio.current_task()
        try:
            value = types.FunctionType(code, self.locals)()
            if inspect.iscoroutine(value):
                await value
        except BaseException as error:  # noqa: BLE001  # as the comment above says
            return error
        return None


def _run_console(console: AsyncConsole, app: App) -> int:
    # Any other hook would show the console's own frames.
    sys.excepthook = sys.__excepthook__
    if sys.stdin.isatty():
        with _history(console):
            console.interact(_banner(app), "")
        return 0
    for line in sys.stdin:
        console.push(line.rstrip("\n"))
        if console.has_failed:
            return 1
    # A block that the end of the input closes.
    console.push("")
    return int(console.has_failed)


def _banner(app: App) -> str:
    tasks = list(app.registry.references) if app.registry is not None else []
    return _BANNER.format(
        python=sys.version.split()[0],
        tasks=", ".join(tasks) or "none: send by broker.find_task('name')",
        names=", ".join(["broker", *app.names]),
        task=f"registry.{tasks[0]}" if tasks else "broker.ping",
    )


def _names(app: App) -> dict[str, object]:
    parts = {"app": app, "broker": app.broker, "registry": app.registry}
    return {"__name__": "__console__", "asyncio": asyncio, **parts, **app.names}


@contextmanager
def _history(console: AsyncConsole) -> Generator[None]:
    """Arrow keys, completion, and lines of earlier shells, where Python was built with readline."""
    try:
        import readline
        import rlcompleter
    except ImportError:
        yield
        return
    file = _history_file()
    if file is not None:
        with suppress(OSError):
            readline.read_history_file(file)
    readline.set_completer(rlcompleter.Completer(console.locals).complete)
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        if file is not None:
            with suppress(OSError):
                file.parent.mkdir(exist_ok=True)
                readline.write_history_file(file)


def _history_file() -> Path | None:
    """Where lines are kept; None where another user could let them be written elsewhere."""
    file = project_folder() / ".local" / "shell_history"
    try:
        check_trusted(file)
    except UntrustedPathError:
        return None
    return file


async def _cancel_background_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _result(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    return asyncio.run_coroutine_threadsafe(work, loop).result()
