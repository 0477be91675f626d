"""`kiqstart dead retry` and `kiqstart dead purge`."""

from collections.abc import Sequence

from kiqstart.broker.acts import Act, ActKind
from kiqstart.broker.broker import StreamBroker
from kiqstart.cli.application import on_broker
from kiqstart.cli.confirmation import confirm
from kiqstart.cli.one_by_one import one_by_one
from kiqstart.cli.recording import record
from kiqstart.cli.terminal import echo
from kiqstart.operations.dead_letters import find_letter
from kiqstart.operations.dead_selection import Filters
from kiqstart.operations.numbers import counted


@on_broker
async def run_retry(
    broker: StreamBroker, letters: Sequence[str], filters: Filters, *, is_sure: bool, why: str | None
) -> int:
    """Send letters again, oldest first; the exit code is 1 if one had to stay or is unknown.

    Raises:
        NotConfirmedError: they are not named one by one, and nobody can be asked.
    """
    # All are looked for before the first is sent: it may come back.
    chosen = letters or await _chosen(broker, filters, "Send {} again?", is_sure=is_sure)
    dead, done = broker.dead_letters, 0

    async def retry(letter: str) -> str:
        nonlocal done
        # Those that were chosen by options are named by their own ids.
        name = (await find_letter(dead, letter)).id if letters else letter
        found = await dead.retry(name)
        done += 1
        return f"{name}  {found.task_name} with id {found.task_id}"

    code = await one_by_one(chosen, retry, "sent again")
    await _record(broker, ActKind.RETRY_DEAD, letters, filters, done, why)
    return code


@on_broker
async def run_purge(
    broker: StreamBroker, letters: Sequence[str], filters: Filters, *, is_sure: bool, why: str | None
) -> int:
    """Drop letters; the exit code is 1 if one is unknown.

    Raises:
        NotConfirmedError: they are not named one by one, and nobody can be asked.
    """
    dead, done, code = broker.dead_letters, 0, 0

    async def purge(letter: str) -> str:
        nonlocal done
        name = (await find_letter(dead, letter)).id
        await dead.purge(name)
        done += 1
        return name

    if letters:
        code = await one_by_one(letters, purge, "dropped")
    else:
        done = await dead.purge_many(await _chosen(broker, filters, "Drop {}?", is_sure=is_sure))
        echo(f"{done} dropped")
    await _record(broker, ActKind.PURGE_DEAD, letters, filters, done, why)
    return code


async def _chosen(broker: StreamBroker, filters: Filters, question: str, *, is_sure: bool) -> list[str]:
    found = await filters.ids(broker.dead_letters)
    if found:
        confirm(question.format(f"{counted(len(found), 'dead letter')} ({filters.described})"), is_sure=is_sure)
    return found


async def _record(
    broker: StreamBroker, kind: ActKind, letters: Sequence[str], filters: Filters, done: int, why: str | None
) -> None:
    if done:
        target = ", ".join(letters) or filters.described
        await record(broker, [Act(kind=kind, target=target, detail=counted(done, "letter"))], why)
