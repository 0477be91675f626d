"""`kiqstart metrics`: figures for Prometheus, on standard output."""

import asyncio

from kiqstart.cli.application import application, stream_broker
from kiqstart.cli.terminal import echo
from kiqstart.metrics.figures import read_figures
from kiqstart.metrics.page import text_of
from kiqstart.metrics.policies import names_of
from kiqstart.operations.findings import how_they_are, look_at_database


def run_metrics() -> None:
    """Print the metrics."""
    echo(asyncio.run(_metrics()).rstrip("\n"))


async def _metrics() -> str:
    app = application()
    try:
        async with stream_broker(app) as broker:
            figures = await read_figures(broker, names_of(app.retention))
        return text_of(figures, how_they_are(await look_at_database(app)))
    finally:
        await app.close()
