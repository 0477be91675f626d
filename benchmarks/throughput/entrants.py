"""Asks contestants how they are set up."""

from collections.abc import Iterable

from benchmarks.throughput.client import open_client
from benchmarks.throughput.contestants import Installed
from benchmarks.throughput.plan import Entrant, Plan


async def enter(contestants: Iterable[Installed], plan: Plan) -> list[Entrant]:
    """Start the program of each, and let it describe itself.

    Raises:
        PeerError: one is not installed, or does not start.
    """
    return [await _enter(one, plan) for one in contestants]


async def _enter(contestant: Installed, plan: Plan) -> Entrant:
    async with open_client(
        contestant, plan.variables(contestant), plan.log_folder, most_seconds=plan.most_seconds
    ) as client:
        return Entrant(installed=contestant, description=await client.describe())
