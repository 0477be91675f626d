"""Tasks that two versions of kiqstart run, and who sends them. It keeps to what is public."""

import asyncio
import json
import os
import sys
from pathlib import Path

from kiqstart import register_task
from kiqstart.broker import StreamBroker, StreamOptions

NAME = os.environ["KIQSTART_NAME"]
FOLDER = Path(os.environ["KIQSTART_FOLDER"])
broker = StreamBroker(
    os.environ["REDIS_URL"], queue_name=os.environ["KIQSTART_QUEUE"], options=StreamOptions(lease=1.0)
)


async def double(number: int) -> list[object]:
    return [2 * number, NAME]


async def fail(text: str) -> None:
    if not (FOLDER / "mended").exists():
        raise ValueError(f"{text} by {NAME}")


async def hold() -> str:
    (FOLDER / f"held by {NAME}").touch()
    if not (FOLDER / "let go").exists():
        await asyncio.sleep(600)
    return NAME


double_task = register_task(broker, double, name="double")
fail_task = register_task(broker, fail, name="fail", max_retries=1, retry_delay=0)
hold_task = register_task(broker, hold, name="hold", unique="hold")


async def call() -> list[object]:
    """Send one of each kind; gives what came of them, and who has said that one failed."""
    plain = await double_task.kiq(1)
    many = await double_task.kiq_many(double_task.call(number) for number in (2, 3))
    later = await double_task.kicker().after(0.5).kiq(4)
    failing = await fail_task.kiq("refused")
    values = [await one.result(timeout=200) for one in (plain, *many, later)]
    error = (await failing.wait_result(timeout=200)).error
    return [values, f"{type(error).__name__}: {error}"]


async def letters() -> list[tuple[str, str | None, str]]:
    """The dead letters."""
    return [(one.id, one.task_name, one.reason) for one in await broker.dead_letters.list()]


async def begin() -> object:
    """Let the other version run each kind, and begin one whose worker dies, of which one waits or runs at a time."""
    called = await call()
    first, second = await hold_task.kiq(), await hold_task.kiq()
    return {"called": called, "letters": await letters(), "held": [first.task_id, second.task_id]}


async def finish(held: str) -> object:
    """Read the result of that one; let the other version run each kind, and send the letters again."""
    ran_by = await hold_task.kicker().sent(held).result(timeout=200)
    called, dead = await call(), await letters()
    (FOLDER / "mended").touch()
    for letter, _, _ in dead:
        again = await broker.dead_letters.retry(letter)
        await fail_task.kicker().sent(again.task_id or "").result(timeout=200)
    return {"ran by": ran_by, "called": called, "letters": dead, "left": await letters()}


async def main(held: str | None = None) -> None:
    await broker.startup()
    sys.stdout.write(json.dumps(await begin() if held is None else await finish(held)))
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
