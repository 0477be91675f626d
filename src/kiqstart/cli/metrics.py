"""`kiqstart metrics`: figures for Prometheus, on standard output."""

import asyncio

from kiqstart.cli.application import application, stream_broker
from kiqstart.cli.terminal import echo
from kiqstart.metrics.figures import read_figures
from kiqstart.metrics.page import text_of
from kiqstart.metrics.policies import names_of


def run_metrics() -> None:
    """Print the metrics."""
    echo(asyncio.run(_metrics()).rstrip("\n"))


async def _metrics() -> str:
    app = application()
    async with stream_broker(app) as broker:
        return text_of(await read_figures(broker, names_of(app.retention)))
