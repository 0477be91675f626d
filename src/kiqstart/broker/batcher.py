"""Lets what happens at the same time travel together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Outcome = TypeVar("Outcome")
Taken_contra = TypeVar("Taken_contra", contravariant=True)
Given_co = TypeVar("Given_co", covariant=True)

_MOST_ITEMS: Final = 512
_MOST_BYTES: Final = 4 * 1024 * 1024
# Bytes of an item from which on it goes its own way.
_LARGE: Final = 64 * 1024


@dataclass(slots=True, eq=False)
class _Group(Generic[Item, Answer]):
    """What one caller has added, and what it waits for."""

    items: Sequence[Item]
    size: int
    answers: "asyncio.Future[Sequence[Answer | BaseException]]"


class Work(Protocol[Taken_contra, Given_co, Outcome]):
    """What is done with a batch."""

    def begin(self, items: Sequence[Taken_contra]) -> Awaitable[Outcome]:
        """Begin at once; what is awaited is its outcome."""
        ...

    def answers(self, items: Sequence[Taken_contra], outcome: Outcome) -> Sequence[Given_co | BaseException]:
        """From the outcome an answer or an error for each item."""
        ...

    async def mend(self, items: Sequence[Taken_contra], error: Exception) -> Sequence[Given_co | BaseException]:
        """Where it failed: try again, or give up. What this raises is raised for all items."""
        ...

    def patience(self, items: Sequence[Taken_contra]) -> float | None:  # noqa: ARG002  # for those that override it
        """Seconds after which what was begun is given up, and is to be mended; None waits however long it takes."""
        return None

    def expired(self, items: Sequence[Taken_contra]) -> Sequence[BaseException] | None:  # noqa: ARG002  # as above
        """What the items of one caller fail with, whose time is over before they were begun; None where it is not."""
        return None


class SimpleWork(Work[Item, Answer, Sequence[Answer | BaseException]]):
    """A function that gives the answers, and has nothing to mend.

    Args:
        execute: takes a batch, and gives an answer or an error for each item. What it raises is raised for all.
    """

    def __init__(self, execute: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | BaseException]]]) -> None:
        self._execute = execute

    def begin(self, items: Sequence[Item]) -> Awaitable[Sequence[Answer | BaseException]]:
        """Call the function."""
        return self._execute(items)

    def answers(
        self,
        items: Sequence[Item],  # noqa: ARG002  # it has answered
        outcome: Sequence[Answer | BaseException],
    ) -> Sequence[Answer | BaseException]:
        """What it has answered."""
        return outcome

    async def mend(self, items: Sequence[Item], error: Exception) -> Sequence[Answer | BaseException]:  # noqa: ARG002  # it has failed
        """Give up."""
        raise error


class Batches(Generic[Item, Answer, Outcome]):
    """Groups items into batches, one batch under way at a time, in order.

    What is added in one turn of the event loop, and what is added while a batch is under way, goes in the next batch.
    So a single item waits for nothing, and many share a round trip. There is no background task, but where a batch has
    failed.

    Args:
        work: what is done with a batch.
        size: bytes of an item; a batch has no more than 4 MiB and 512 items, or what a single caller has added.
        large_work: what is done with batches of large items, of more than 64 KiB, and what was added with them. They
            are apart from the others, so that nobody waits for what takes its time; None: they go with the others.
    """

    def __init__(
        self,
        work: Work[Item, Answer, Outcome],
        size: Callable[[Item], int],
        *,
        large_work: Work[Item, Answer, Outcome] | None = None,
    ) -> None:
        self._size = size
        self._common: _Lane[Item, Answer, Outcome] = _Lane(work)
        self._large: _Lane[Item, Answer, Outcome] | None = None if large_work is None else _Lane(large_work)

    async def add(self, item: Item) -> Answer:
        """Wait until the item's batch is done, and give the item's answer.

        A caller that is cancelled leaves its item in the batch.
        """
        return only(await self.add_all((item,)))

    def add_all(self, items: Sequence[Item]) -> "asyncio.Future[Sequence[Answer | BaseException]]":
        """Let items travel in one batch; the future gives an answer or an error for each."""
        total = 0
        lane = self._common
        for item in items:
            size = self._size(item)
            total += size
            if size > _LARGE and self._large is not None:
                lane = self._large
        return lane.add(items, total)

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        await self._common.drain()
        if self._large is not None:
            await self._large.drain()


def only(answers: Sequence[Answer | BaseException]) -> Answer:
    """The answer of a single item; its error is raised."""
    [answer] = answers
    if isinstance(answer, BaseException):
        raise answer
    return answer


class _Lane(Generic[Item, Answer, Outcome]):
    """One batch after the other."""

    def __init__(self, work: Work[Item, Answer, Outcome]) -> None:
        self._work = work
        self._waiting: list[_Group[Item, Answer]] = []
        self._is_busy = False
        self._idle = asyncio.Event()
        self._mending: asyncio.Task[None] | None = None
        self._under_way: asyncio.Future[Outcome] | None = None
        self._gives_up_at = 0.0
        # One for many batches: most are done long before their time.
        self._timer: asyncio.TimerHandle | None = None
        self._is_too_late = False

    def add(self, items: Sequence[Item], size: int) -> "asyncio.Future[Sequence[Answer | BaseException]]":
        loop = asyncio.get_running_loop()
        answers: asyncio.Future[Sequence[Answer | BaseException]] = loop.create_future()
        self._waiting.append(_Group(items, size, answers))
        if not self._is_busy:
            self._is_busy = True
            self._idle.clear()
            loop.call_soon(self._begin)
        return answers

    async def drain(self) -> None:
        if self._is_busy:
            await self._idle.wait()

    def _begin(self) -> None:
        if self._waiting:
            self._drop_expired()
        if not self._waiting:
            self._is_busy = False
            self._idle.set()
            return
        batch = self._next_batch()
        items = batch[0].items if len(batch) == 1 else [item for group in batch for item in group.items]
        try:
            under_way = asyncio.ensure_future(self._work.begin(items))
        except Exception as error:  # noqa: BLE001  # handed to those who wait
            self._end(batch, [error] * len(items))
            return
        self._is_too_late = False
        seconds = self._work.patience(items)
        if seconds is not None:
            self._watch(under_way, seconds)
        under_way.add_done_callback(partial(self._take_outcome, batch, items))

    def _drop_expired(self) -> None:
        count = 0
        for group in self._waiting:
            errors = self._work.expired(group.items)
            if errors is None:
                break
            if not group.answers.done():
                group.answers.set_result(errors)
            count += 1
        if count:
            del self._waiting[:count]

    def _watch(self, under_way: "asyncio.Future[Outcome]", seconds: float) -> None:
        loop = under_way.get_loop()
        self._under_way, self._gives_up_at = under_way, loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._gives_up_at:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = loop.call_at(self._gives_up_at, self._look)

    def _look(self) -> None:
        self._timer, under_way = None, self._under_way
        if under_way is None or under_way.done():
            return
        loop = under_way.get_loop()
        if loop.time() < self._gives_up_at:
            self._timer = loop.call_at(self._gives_up_at, self._look)
            return
        self._is_too_late = True
        under_way.cancel()

    def _take_outcome(
        self, batch: Sequence[_Group[Item, Answer]], items: Sequence[Item], under_way: "asyncio.Future[Outcome]"
    ) -> None:
        self._under_way = None
        error: BaseException | None
        if under_way.cancelled():
            error = TimeoutError("no answer in time") if self._is_too_late else asyncio.CancelledError()
        else:
            error = under_way.exception()
        if error is None:
            self._end(batch, self._answers(items, under_way.result()))
        elif isinstance(error, Exception):
            self._mending = asyncio.create_task(self._mend(batch, items, error), name="batches")
        else:
            self._end(batch, [error] * len(items))

    def _answers(self, items: Sequence[Item], outcome: Outcome) -> Sequence[Answer | BaseException]:
        try:
            return self._work.answers(items, outcome)
        except Exception as error:  # noqa: BLE001  # handed to those who wait
            return [error] * len(items)

    async def _mend(self, batch: Sequence[_Group[Item, Answer]], items: Sequence[Item], error: Exception) -> None:
        answers: Sequence[Answer | BaseException] = [asyncio.CancelledError()] * len(items)
        try:
            answers = await self._work.mend(items, error)
        except Exception as last:  # noqa: BLE001  # handed to those who wait
            answers = [last] * len(items)
        finally:
            self._mending = None
            self._end(batch, answers)

    def _end(self, batch: Sequence[_Group[Item, Answer]], answers: Sequence[Answer | BaseException]) -> None:
        start = 0
        for group in batch:
            end = start + len(group.items)
            if not group.answers.done():
                group.answers.set_result(answers[start:end])
            start = end
        self._begin()

    def _next_batch(self) -> Sequence[_Group[Item, Answer]]:
        if len(self._waiting) == 1:
            batch, self._waiting = self._waiting, []
            return batch
        groups, items, size = 0, 0, 0
        for group in self._waiting:
            items += len(group.items)
            size += group.size
            if groups and (items > _MOST_ITEMS or size > _MOST_BYTES):
                break
            groups += 1
        batch, self._waiting = self._waiting[:groups], self._waiting[groups:]
        return batch
