"""Tables of figures, on the terminal and in Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

NO_FIGURE: Final = "-"
"""What a cell has where there is nothing to measure."""

_NO_FIGURES: Final = frozenset({"", NO_FIGURE, "*"})


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is aimed at, what was measured, and whether that will do; None where it was not measured."""

    aim: str
    measured: str
    met: bool | None

    def __str__(self) -> str:
        verdict = "not judged" if self.met is None else "met" if self.met else "not met"
        return f"{self.aim}: {self.measured}, {verdict}"


@dataclass(frozen=True, kw_only=True)
class FigureTable:
    """A table with a title, remarks under it, and the targets of its figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    remarks: Sequence[str] = ()
    targets: Sequence[Target] = ()

    def show(self, console: Console) -> None:
        """Print it."""
        table = RichTable(title=self.title, title_justify="left", title_style="bold")
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="left" if self._is_text(number) else "right")
        for row in self.rows:
            table.add_row(*map(Text, row))
        console.print(table)
        for line in (*self.remarks, *map(str, self.targets)):
            console.print(Text(f"  {line}"))
        console.print()

    def markdown(self) -> str:
        """Return it as Markdown."""
        rules = ["---" if self._is_text(number) else "--:" for number in range(len(self.columns))]
        lines = [f"### {self.title}", "", *(f"| {' | '.join(row)} |" for row in (self.columns, rules, *self.rows))]
        for heading, texts in (("", self.remarks), ("Targets:", [f"- {target}" for target in self.targets])):
            if texts:
                lines += ["", *([heading, ""] if heading else []), *texts]
        return "\n".join(lines) + "\n"

    def _is_text(self, column: int) -> bool:
        filled = [row[column] for row in self.rows if row[column] not in _NO_FIGURES]
        return not filled or not all(cell[0].isdigit() for cell in filled)
