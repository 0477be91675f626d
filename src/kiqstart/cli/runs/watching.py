"""`kiqstart runs watch`."""

import asyncio
import json
from contextlib import suppress

from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.runs import RunTail
from kiqstart.cli.application import stream_broker
from kiqstart.cli.runs.wording import as_fields, run_lines, run_titles
from kiqstart.cli.terminal import echo
from kiqstart.observability.redaction import redacted
from kiqstart.operations.run_selection import by_parameters

# Two commands each time; a read that waits in Redis would need a connection and a right of its own.
_SECONDS_BETWEEN_LOOKS = 0.5


def run_watch(which: RunFilter, *, as_json: bool) -> None:
    """Print runs as they end, until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        asyncio.run(_watch(which, as_json=as_json))


async def _watch(which: RunFilter, *, as_json: bool) -> None:
    async with stream_broker() as broker:
        which = by_parameters(which, broker)
        tail = RunTail(broker.connection.redis, broker.keys, broker.secrets)
        await tail.start()
        if not as_json:
            echo(run_titles())
        while True:
            for run in await tail.read():
                if which.fits(run):
                    echo(json.dumps(redacted(as_fields(run))) if as_json else run_lines(run))
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
