"""What the demo shows: live on a terminal, line by line elsewhere."""

import io
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from todo_service.demo.errors import DemoError
from todo_service.demo.figures import Figures

_PICTURE_WIDTH: Final = 84
_SHOWN_TICKS: Final = 5
_SECONDS_BETWEEN_LINES: Final = 2.0


@dataclass(kw_only=True)
class Tick:
    """An occurrence of a schedule: when it was due, what was sent, and what came of it."""

    time: str
    task: str
    task_id: str
    outcome: str = ""


@dataclass(kw_only=True)
class Screen:
    """Steps that were taken, a bar for each long one, the scheduler's ticks, and at the end a table."""

    title: str
    console: Console = field(default_factory=lambda: Console(highlight=False))

    def __post_init__(self) -> None:
        """Make the empty parts."""
        self._steps: list[str] = []
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=22, complete_style="cyan", finished_style="green"),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
            console=self.console,
        )
        self._ticks: list[Tick] = []
        self._results: list[RenderableType] = []
        self._last_lines: dict[TaskID, float] = {}

    @contextmanager
    def live(self) -> Generator[None]:
        """Show it as it changes."""
        if not self.console.is_terminal:
            self.console.print(self.title)
            yield
            return
        with Live(self, console=self.console, refresh_per_second=10):
            yield

    def step(self, text: str) -> None:
        """Say what has been done."""
        self._steps.append(text)
        self._line(text)

    def bar(self, title: str, total: int) -> TaskID:
        """Begin a bar that is full at `total` rows."""
        return self._bars.add_task(title, total=total)

    def advance(self, bar: TaskID, *, completed: int) -> None:
        """Move a bar to `completed` rows."""
        task, now = self._bars.tasks[bar], time.monotonic()
        was_finished = task.finished
        self._bars.update(bar, completed=completed)
        if task.finished != was_finished or now - self._last_lines.get(bar, 0) > _SECONDS_BETWEEN_LINES:
            self._last_lines[bar] = now
            self._line(f"{task.description}: {completed:,} of {task.total:,.0f} rows")

    def tick(self, tick: Tick) -> None:
        """Show an occurrence, which may get its outcome later."""
        self._ticks.append(tick)
        self._line(f"scheduler: {tick.task}, due at {tick.time}")

    def end(self, figures: Sequence[Figures], *closing: str) -> None:
        """Show the table, and what to do next."""
        self._ticks = [tick for tick in self._ticks if tick.outcome]
        self._results = [_table(figures), *(Text.from_markup(line) for line in closing)]
        if not self.console.is_terminal:
            self.console.print(*self._results, sep="\n", soft_wrap=True)

    def save_picture(self, path: Path) -> None:
        """Write the screen as it is now as an SVG.

        Raises:
            DemoError: the file cannot be written.
        """
        canvas = Console(
            record=True,
            width=_PICTURE_WIDTH,
            file=io.StringIO(),
            force_terminal=True,
            color_system="truecolor",
            highlight=False,
        )
        canvas.print(self)
        try:
            path.write_text(canvas.export_svg(title="kiqstart demo"), encoding="utf-8")
        except OSError as error:
            raise DemoError(f"--svg: cannot write {path}: {error.strerror}") from None

    def __rich__(self) -> RenderableType:
        """Everything, from the title to the table."""
        parts: list[RenderableType] = [
            Text.from_markup(self.title),
            "",
            *(Text.from_markup(f"[green]✓[/] {step}") for step in self._steps),
        ]
        if self._bars.tasks:
            parts += ["", self._bars]
        if self._ticks:
            parts.append(_tick_table(self._ticks[-_SHOWN_TICKS:]))
        return Group(*parts, *self._results)

    def _line(self, text: str) -> None:
        if not self.console.is_terminal:
            self.console.print(text, soft_wrap=True)


def _tick_table(ticks: Sequence[Tick]) -> Table:
    table = Table("due at (UTC)", "sent by the scheduler", "outcome", box=SIMPLE_HEAD)
    for tick in ticks:
        table.add_row(tick.time, tick.task, tick.outcome)
    return table


def _table(figures: Sequence[Figures]) -> Table:
    table = Table("clean-up", box=SIMPLE_HEAD)
    for name in ("found", "deleted", "kept", "seconds", "rows/s"):
        table.add_column(name, justify="right")
    for one in figures:
        table.add_row(
            one.title,
            f"{one.found:,}",
            f"[bold]{one.deleted:,}[/]",
            f"{one.kept:,}",
            f"{one.seconds:.2f}",
            f"{one.rows_per_second:,.0f}" if one.seconds else "-",
        )
    return table
