"""A part of the results, as it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from benchmarks.tables.figure_table import FigureTable


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, a paragraph on how its figures came about, one on where they were measured, and tables."""

    title: str
    how: str
    where: str
    tables: Sequence[FigureTable]

    def show(self, console: Console) -> None:
        """Print it."""
        console.rule(Text(self.title, style="bold"), align="left")
        console.print(Text(self.how))
        console.print(Text(self.where))
        console.print()
        for table in self.tables:
            table.show(console)

    def markdown(self) -> str:
        """Return it as Markdown."""
        return "\n\n".join((f"## {self.title}", self.how, self.where, *(one.markdown() for one in self.tables)))
