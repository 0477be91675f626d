"""`kiqstart dead retry` and `kiqstart dead purge`."""

import asyncio
from collections.abc import Sequence

import typer

from kiqstart.cli.application import stream_broker
from kiqstart.cli.dead.selection import check_reason, check_selection, parse_age
from kiqstart.cli.one_by_one import one_by_one
from kiqstart.cli.terminal import echo


def run_retry(letters: Sequence[str], *, every: bool, task: str | None, reason: str | None) -> int:
    """Send letters again, oldest first; the exit code is 1 if one had to stay or is unknown.

    Raises:
        SelectionError: it is not clear which.
    """
    check_selection(letters, every=every, filters=[task, reason])
    check_reason(reason)
    return asyncio.run(_retry(letters, every=every, task=task, reason=reason))


def run_purge(letters: Sequence[str], *, every: bool, older_than: str | None, is_sure: bool) -> int:
    """Drop letters; the exit code is 1 if one is unknown. All of them only after a question, unless `is_sure`.

    Raises:
        SelectionError: it is not clear which.
    """
    check_selection(letters, every=every, filters=[older_than])
    age = None if older_than is None else parse_age(older_than)
    if not every:
        return asyncio.run(_purge(letters))
    if not is_sure:
        which = "all dead letters" if older_than is None else f"all dead letters older than {older_than}"
        typer.confirm(f"Drop {which}?", abort=True)
    echo(f"{asyncio.run(_purge_all(age))} dropped")
    return 0


async def _retry(letters: Sequence[str], *, every: bool, task: str | None, reason: str | None) -> int:
    async with stream_broker() as broker:
        dead = broker.dead_letters
        if every:
            # All are looked for before the first is sent: it may come back.
            letters = [one.id async for one in dead.walk(task_name=task, reason=reason)][::-1]

        async def retry(letter: str) -> str:
            found = await dead.retry(letter)
            return f"{letter}  {found.task_name} with id {found.task_id}"

        return await one_by_one(letters, retry, "sent again")


async def _purge(letters: Sequence[str]) -> int:
    async with stream_broker() as broker:
        dead = broker.dead_letters

        async def purge(letter: str) -> str:
            await dead.purge(letter)
            return letter

        return await one_by_one(letters, purge, "dropped")


async def _purge_all(age: int | None) -> int:
    async with stream_broker() as broker:
        dead = broker.dead_letters
        return await (dead.purge_all() if age is None else dead.purge_older_than(age))
