"""Doing the same to several things, each of which may fail by itself."""

from collections.abc import Awaitable, Callable, Iterable

from kiqstart.cli.terminal import echo, shown
from kiqstart.errors import OperatorError, print_error


async def one_by_one(names: Iterable[str], act: Callable[[str], Awaitable[str]], what: str) -> int:
    """Print a line for each, errors on standard error, then how many are done; the exit code is 1 if one is not."""
    done, failed = 0, 0
    for name in dict.fromkeys(names):
        try:
            echo(shown(await act(name)))
            done += 1
        except OperatorError as error:
            print_error(error)
            failed += 1
    echo(f"{done} {what}" + (f", {failed} not" if failed else ""))
    return 1 if failed else 0
