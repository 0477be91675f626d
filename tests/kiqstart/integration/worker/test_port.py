"""A worker's port answers whatever its event loop does, and one port answers for several workers."""

import os
import re
import signal
from collections.abc import Awaitable, Callable

import httpx
from tests.deadlines import HANG
from tests.kiqstart.integration.worker.sender import Sender

from kiqstart.testing import ProcessFactory, ServiceProcess, eventually


def address_of(process: ServiceProcess) -> str:
    found = re.search(r"figures and health are at (\S+)", process.log)
    assert found is not None, process.log
    return found[1]


def answers(url: str, status: int, *texts: str) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        async with httpx.AsyncClient(timeout=HANG) as client:
            answer = await client.get(url)
        return answer.status_code == status and all(text in answer.text for text in texts)

    return ask


async def test_it_answers_while_a_task_blocks_the_event_loop(worker: ProcessFactory, sender: Sender) -> None:
    with worker("--port", "0") as process:
        address = address_of(process)
        await eventually(answers(f"{address}/readyz", 200, '"status": "ok"'))
        await sender.send_blocking("spin")
        await eventually(answers(f"{address}/metrics", 200, 'kiqstart_workers{service="', "} 1.0"))
        # Too short a time to be a finding.
        assert await answers(f"{address}/healthz", 200)()
        assert await answers(f"{address}/other", 404, "there are: /metrics /healthz /readyz")()
        # It would spin until its grace is over.
        process.kill()


async def test_one_port_answers_for_all_workers_also_when_one_is_started_anew(
    worker: ProcessFactory, sender: Sender
) -> None:
    with worker("--workers", "2", "--port", "0") as process:
        address = address_of(process)
        both = ('"status": "ok"', '"worker-0"', '"worker-1"')
        await eventually(answers(f"{address}/readyz", 200, *both))
        killed = await sender.value("tell_process")
        os.kill(killed, signal.SIGKILL)
        process.wait_for_log("was killed by SIGKILL")
        assert await answers(f"{address}/healthz", 200, *both[1:])()
        process.wait_for_log("Listening started.", times=3)
        await eventually(answers(f"{address}/readyz", 200, *both))
        await eventually(answers(f"{address}/metrics", 200, "kiqstart_redis_up{"))
        assert process.stop() == 0
