import json
from dataclasses import replace
from pathlib import Path

from tests.deadlines import HANG
from tests.fork_server.client import start_anew
from tests.kiqstart.integration.worker.sender import Sender

from kiqstart.tasks.registration import register_task
from kiqstart.testing import ProcessFactory

BESIDE = str(Path(__file__).parents[4] / ".local/beside")


async def work() -> str:
    return ""


async def test_a_worker_puts_the_task_on_the_lines_of_the_modules_own_log(
    worker: ProcessFactory, sender: Sender
) -> None:
    own = replace(
        start_anew(worker),
        command=[
            *worker.command[:-1],
            "--no-configure-logging",
            "tests.kiqstart.integration.worker.logging_app:broker",
        ],
        environment={**worker.environment, "PYTHONPATH": BESIDE},
    )
    with own() as process:
        sent = await register_task(sender.broker, work, name="work").kiq()
        assert await sent.result(timeout=HANG) == "done"
    lines = [json.loads(line) for line in process.log.splitlines() if line.startswith("{")]
    [at_work] = [line for line in lines if line["text"] == "at work"]
    [end] = [line for line in lines if line["outcome"]]
    assert end["text"].startswith("Task work succeeded in ")
    assert (at_work["task_name"], at_work["task_id"], at_work["outcome"]) == ("work", sent.task_id, None)
    assert at_work["trace_id"] == end["trace_id"]
    assert len(end["trace_id"]) == 32
    assert {line["task_id"] for line in lines if line["text"] == "Listening started."} == {None}
