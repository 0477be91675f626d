"""Tables as commands print them."""

from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_WIDTH_OF_A_FILE: Final = 200


def new_table(*titles: str, expand: bool = False) -> Table:
    """A table without lines but that below its head.

    Args:
        titles: of columns that give way to a narrow window without losing a letter: the text goes on in the next line.
        expand: whether it is as wide as the window.
    """
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), expand=expand)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print a table as wide as the window; in a file or a pipe, 200 characters."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH_OF_A_FILE)
    console.print(table)
