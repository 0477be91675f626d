"""Walks through what Redis keeps: the beginning of one, and several as one."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from heapq import heapify, heappop, heapreplace
from typing import TypeVar

Found = TypeVar("Found")


async def first_of(walk: AsyncGenerator[Found], limit: int) -> list[Found]:
    """The first things that a walk gives, which then ends."""
    found: list[Found] = []
    async with aclosing(walk):
        async for one in walk:
            if len(found) >= limit:
                break
            found.append(one)
    return found


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
