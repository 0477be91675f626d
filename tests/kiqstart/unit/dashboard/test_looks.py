import asyncio
import gc
import weakref

import pytest
from tests.clock import Clock

from kiqstart.dashboard.latest import Latest
from kiqstart.dashboard.looks import SECONDS, Looks
from kiqstart.testing import eventually


class Source:
    def __init__(self) -> None:
        self.reads = 0
        self.fails = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self) -> int:
        self.reads += 1
        await self.gate.wait()
        if self.fails:
            raise OSError("away")
        return self.reads


class Large:
    """What a page shows."""


async def test_what_was_read_is_shared_for_a_second() -> None:
    clock, source = Clock(), Source()
    looks = Looks(now=clock)
    assert [await looks.share("a", source.read) for _ in range(3)] == [1, 1, 1]
    assert await looks.share("b", source.read) == 2
    clock.now += SECONDS
    assert await looks.share("a", source.read) == 3
    looks.forget()
    assert await looks.share("a", source.read) == 4


async def test_who_comes_while_it_is_read_waits_for_the_same() -> None:
    source = Source()
    source.gate.clear()
    looks = Looks()
    asked = [asyncio.ensure_future(looks.share("a", source.read)) for _ in range(5)]
    await asyncio.sleep(0)
    asked[0].cancel()
    source.gate.set()
    assert await asyncio.gather(*asked[1:]) == [1] * 4


async def test_a_failure_is_not_kept() -> None:
    source, looks = Source(), Looks(now=Clock())
    source.fails = True
    with pytest.raises(OSError, match="away"):
        await looks.share("a", source.read)
    source.fails = False
    assert await looks.share("a", source.read) == 2


async def test_nothing_is_kept_that_nobody_would_be_shown() -> None:
    clock = Clock()
    looks, seen = Looks(now=clock), Large()
    gone = weakref.ref(seen)
    source = [seen]
    del seen

    async def read() -> Large:
        return source.pop()

    await looks.share("a search", read)
    clock.now += SECONDS
    await looks.share("another", Source().read)
    gc.collect()
    assert gone() is None


async def test_nobody_but_the_first_waits_for_what_is_slow() -> None:
    clock, source = Clock(), Source()
    latest = Latest(source.read, seconds=10.0, now=clock)
    assert list(await asyncio.gather(latest.get(), latest.get())) == [1, 1]
    clock.now += 10
    source.gate.clear()
    assert [await latest.get() for _ in range(3)] == [1, 1, 1]
    source.gate.set()

    async def is_new() -> bool:
        return await latest.get() == 2

    await eventually(is_new)
    assert source.reads == 2
    # Nobody has looked for long.
    clock.now += 21
    assert await latest.get() == 3


async def test_after_a_failure_whoever_looks_waits_again() -> None:
    clock, source = Clock(), Source()
    latest = Latest(source.read, seconds=10.0, now=clock)
    source.fails = True
    with pytest.raises(OSError, match="away"):
        await latest.get()
    source.fails = False
    assert await latest.get() == 2
    clock.now, source.fails = clock.now + 10, True
    assert await latest.get() == 2

    async def has_failed() -> bool:
        return source.reads == 3

    await eventually(has_failed)
    source.fails = False
    assert await latest.get() == 4
