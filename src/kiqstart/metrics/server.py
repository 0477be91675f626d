"""The port of a worker or a scheduler: its figures for Prometheus, and whether it is well."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kiqstart.broker.broker import StreamBroker
from kiqstart.metrics.health import Duty, Health, report
from kiqstart.metrics.page import MetricsPage
from kiqstart.processes.answer_server import Answer, AnswerServer, Request


@asynccontextmanager
async def answering(
    listener: socket.socket, broker: StreamBroker, duty: Duty, policies: Sequence[str] = ()
) -> AsyncGenerator[None]:
    """Answer while the block runs, in a thread that watches the running event loop.

    Args:
        listener: where.
        broker: whose figures there are, and whose process this is.
        duty: what the process is there for.
        policies: the application's retention policies.
    """
    server = _server(listener, broker, Health(broker, asyncio.get_running_loop(), duty), policies)
    await asyncio.to_thread(server.start)
    try:
        yield
    finally:
        await asyncio.to_thread(server.stop)


def _server(listener: socket.socket, broker: StreamBroker, health: Health, policies: Sequence[str]) -> AnswerServer:
    page = MetricsPage(broker=broker, policies=policies)

    async def metrics(request: Request) -> Answer:
        body, content_type = await page.text(request.headers.get("accept", ""))
        return Answer(body=body, content_type=content_type)

    async def is_live(_: Request) -> Answer:
        status, said = report(health.findings(), is_live=True)
        return Answer.of_json(said, status=status)

    async def is_ready(_: Request) -> Answer:
        status, said = report(health.findings(), is_live=False)
        return Answer.of_json(said, status=status)

    endpoints = {"/metrics": metrics, "/healthz": is_live, "/readyz": is_ready}
    return AnswerServer(listener, endpoints, beside=health.watch)
