"""What a run goes through, shared out among its pieces."""

from collections.abc import Iterable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.core.retention.walk import Interval, Walk


async def share_out(
    connection: AsyncConnection, walk: Walk, intervals: Sequence[Interval], shards: int
) -> list[tuple[Interval, ...]]:
    """Return the intervals of each piece, of at most `shards` pieces.

    Intervals are cut only as far as there are fewer of them than pieces, so that what one limited run after the other
    leaves does not fall to ever smaller bits.
    """
    joined = join(intervals)
    each = -(-shards // len(joined)) if joined else 1
    parts = [part for one in joined for part in await walk.split(connection, one, each)]
    pieces = max(1, min(shards, len(parts)))
    return [tuple(parts[number::pieces]) for number in range(pieces)]


def join(intervals: Iterable[Interval]) -> list[Interval]:
    """Make one of intervals that follow each other."""
    beginnings = {one.after: one for one in intervals if one.lines is None}
    follow = {one.upto for one in beginnings.values()}
    joined = [one for one in intervals if one.lines is not None]
    for one in beginnings.values():
        if one.after is not None and one.after in follow:
            continue
        end = one
        while (following := beginnings.get(end.upto)) is not None and following is not one:
            end = following
        joined.append(Interval(one.after, end.upto))
    return joined
