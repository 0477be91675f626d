"""`kiqstart ping`: is a worker there?"""

import asyncio
import time

import typer
from taskiq import TaskiqResultTimeoutError

from kiqstart.infrastructure.errors import OperatorError
from kiqstart.ioc.container import ContainerFactory


class NoAnswerError(OperatorError):
    """No worker ran the task in time."""


def run_ping(*, timeout: float) -> None:
    """Send `ping` and print how long the answer took, in milliseconds.

    Raises:
        NoAnswerError: there was none within `timeout` seconds.
    """
    typer.echo(f"pong in {asyncio.run(_round_trip(timeout)) * 1000:.1f} ms")


async def _round_trip(timeout: float) -> float:  # noqa: ASYNC109  # it is taskiq's own
    async with ContainerFactory()().running() as registry:
        start = time.perf_counter()
        task = await registry.ping.kiq()
        try:
            result = await task.wait_result(check_interval=0.005, timeout=timeout)
        except TaskiqResultTimeoutError:
            raise NoAnswerError(
                f"no worker has answered within {timeout:g} s: start one (`make worker-dev`), or look at its log"
            ) from None
        seconds = time.perf_counter() - start
        result.raise_for_error()
        return seconds
