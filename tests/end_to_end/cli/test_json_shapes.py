"""What `--json` prints has the shape that docs/commands.md shows."""

import asyncio
import json
import re
from pathlib import Path
from typing import TypeAlias, cast

import pytest
import typer.main
from redis.asyncio import Redis
from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.end_to_end.cli.in_process import Kiqstart, look_once

from kiqstart.broker.acts import Operator
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.delivery import DeadLetterReason
from kiqstart.broker.pauses import Pausable, Pauses
from kiqstart.cli.app import app
from kiqstart.cli.application import stream_broker
from kiqstart.retention import RetentionEngine, RetentionPolicy
from todo_service.core.session.models import RefreshSession

DOCUMENT = Path(__file__).parents[3] / "docs" / "commands.md"
# A command, and the example below it.
EXAMPLE = re.compile(r"^`kiqstart ([^`]*) --json`.*?```json\n(.*?)```", re.MULTILINE | re.DOTALL)
# Its test has one.
RUN_BY_A_WORKER = "retention run POLICY"
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
SHAPES = {command: cast("Json", json.loads(example)) for command, example in EXAMPLE.findall(DOCUMENT.read_text())}
# What maps an application's own names, whose keys are no part of the shape.
OPEN = ("kwargs", "message", "where", "result")


def differences(shown: Json, found: Json, where: str = "") -> list[str]:
    """Where a value has other keys or types than an example; null may stand for anything, and lists be empty."""
    if shown is None or found is None or where.rpartition(".")[2] in OPEN:
        return []
    if isinstance(shown, dict) and isinstance(found, dict):
        if shown.keys() != found.keys():
            return [f"{where}: {sorted(found)} are not {sorted(shown)}"]
        return [one for name in shown for one in differences(shown[name], found[name], f"{where}.{name}")]
    if isinstance(shown, list) and isinstance(found, list):
        return [one for item in found for one in differences(shown[0], item, where)] if shown else []
    kinds = {type(shown).__name__, type(found).__name__}
    return [] if len(kinds) == 1 or kinds == {"int", "float"} else [f"{where}: {found!r} is no {shown!r}"]


async def fill(broker: StreamBroker) -> None:
    """Let there be something of everything."""
    ada = Operator(user="ada", host="here")
    await Pauses(broker.connection.redis, broker.keys, deadline=1.0).pause(Pausable.QUEUE, "default", by=ada)
    message = broker.ping.kicker()._prepare_message()
    text = broker.formatter.dumps(message)
    await broker.bury(text, DeadLetterReason.RETRIES_EXHAUSTED, "why")
    facts = f"1790000000000-0 1790000000000 7 1 0 {len(text.message)} 0 6"
    block = f"1d default kiq-1 host:7\n{facts}\n".encode() + text.message + b"E: why"
    redis = cast("Redis", broker.connection.redis)
    seconds, _ = await redis.time()
    await redis.xadd(broker.keys.failed_runs, {"runs": block}, id=f"1-{seconds * 1000}")
    await broker.ping.kiq()
    lost = {"worker": "kiq-2", "beat": str(seconds * 1000), "info": '{"queues": ["default"]}', "running": ""}
    await redis.zadd(broker.keys.lost_workers, {json.dumps(lost): seconds * 1000})


def test_every_reading_command_has_a_documented_shape() -> None:
    def of(command: object, name: str) -> list[str]:
        commands: dict[str, object] = getattr(command, "commands", {})
        if commands:
            return [one for part, inner in commands.items() for one in of(inner, f"{name} {part}".strip())]
        options = [option for one in getattr(command, "params", []) for option in one.opts]
        return [name] if "--json" in options else []

    # It goes on for ever, and prints what `runs list` does.
    documented = {
        *(
            command.replace(" ID", "").replace(" POLICY", "").replace(" --lost", "").replace(" --state waiting", "")
            for command in SHAPES
        ),
        "runs watch",
    }
    wanted = {one.replace(" preview", "") for one in of(typer.main.get_command(app), "")}
    assert documented == wanted


async def test_what_is_printed_has_the_documented_shape(kiqstart_on_database: Kiqstart, engine: AsyncEngine) -> None:
    await look_once()
    policy = RetentionPolicy(name="expired", model=RefreshSession, predicate=RefreshSession.expires_at < func.now())
    await RetentionEngine(engine).run(policy)
    async with stream_broker() as broker:
        await fill(broker)
        await broker.consume()
        kiqstart_here = kiqstart_on_database
        assert (await asyncio.to_thread(kiqstart_here, "cancel", "an-id")).code == 0
        sent = await asyncio.to_thread(kiqstart_here, "schedules", "run", "cleanup-sessions-daily")
        assert sent.code == 0
        [letter] = await broker.dead_letters.list()
        for command, shape in SHAPES.items():
            if command == RUN_BY_A_WORKER:
                continue
            name = letter.task_id if command.startswith("runs") else letter.id
            words = [str(name) if word == "ID" else word for word in command.split()]
            done = await asyncio.to_thread(kiqstart_here, *words, "--json")
            assert done.out, (command, done.err)
            found = cast("Json", json.loads(done.out))
            assert found, command
            assert differences(shape, found, command) == []


@pytest.mark.parametrize("found", [{}, {"is_ok": True, "checks": [{"name": 1, "state": "ok", "text": "x"}]}])
def test_another_shape_is_seen(found: Json) -> None:
    assert differences(SHAPES["check"], found) != []
