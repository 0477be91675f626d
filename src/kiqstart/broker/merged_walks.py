"""Several walks as one, in order."""

from collections.abc import AsyncGenerator, Callable, Sequence
from heapq import heapify, heappop, heapreplace
from typing import TypeVar

Found = TypeVar("Found")


async def merged(walks: Sequence[AsyncGenerator[Found]], rank: Callable[[Found], float]) -> AsyncGenerator[Found]:
    """What several walks give, each of which ascends by rank, by rank; of equal ones, an earlier walk's first."""
    try:
        # No two have the same place, so what was found itself is never compared.
        heads = [
            (rank(found), place, found)
            for place, walk in enumerate(walks)
            if (found := await anext(walk, None)) is not None
        ]
        heapify(heads)
        while heads:
            _, place, found = heads[0]
            yield found
            following = await anext(walks[place], None)
            if following is None:
                heappop(heads)
            else:
                heapreplace(heads, (rank(following), place, following))
    finally:
        for walk in walks:
            await walk.aclose()
