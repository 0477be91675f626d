"""Asking before much is done at once."""

import sys

import typer

from kiqstart.cli.terminal import shown
from kiqstart.errors import OperatorError


class NotConfirmedError(OperatorError):
    """Nobody can be asked."""


def confirm(question: str, *, is_sure: bool) -> None:
    """Ask, unless the operator `is_sure`.

    Raises:
        NotConfirmedError: there is no terminal to ask at.
        typer.Abort: the answer is no.
    """
    if is_sure:
        return
    if not is_interactive():
        raise NotConfirmedError(f"{question} There is no terminal to ask at: say --yes")
    typer.confirm(shown(question), abort=True)


def is_interactive() -> bool:
    """Whether somebody sits at a terminal who can answer."""
    return sys.stdin.isatty()
