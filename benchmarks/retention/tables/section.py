"""A part of the results, as it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from benchmarks.retention.results import Part
from benchmarks.retention.tables.figure_table import FigureTable


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, a paragraph on how its figures came about, the part that they are of, and tables."""

    title: str
    how: str
    part: Part
    tables: Sequence[FigureTable]

    def show(self, console: Console) -> None:
        """Print it."""
        console.rule(Text(self.title, style="bold"), align="left")
        console.print(Text(self.how))
        console.print(Text(self._where()))
        console.print()
        for table in self.tables:
            table.show(console)

    def markdown(self) -> str:
        """Return it as Markdown."""
        return "\n\n".join((f"## {self.title}", self.how, self._where(), *(one.markdown() for one in self.tables)))

    def _where(self) -> str:
        environment = self.part.environment
        settings = ", ".join(f"{name} {value}" for name, value in environment.settings.items())
        return (
            f"{self.part.rows:,} rows to delete among as many to keep; medians of {self.part.repeat} (least to most). "
            f"{environment.database}, {environment.redis}, Python {environment.python}, {environment.cores} cores; "
            f"{settings}; the measured tables without autovacuum."
        )
