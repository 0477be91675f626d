"""Lets what happens at the same time travel together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

MOST_ITEMS: Final = 512
_MOST_BYTES: Final = 4 * 1024 * 1024


@dataclass(slots=True, eq=False)
class _Group(Generic[Item, Answer]):
    """What one caller has added, and what it waits for."""

    items: Sequence[Item]
    answers: "asyncio.Future[Sequence[Answer | BaseException]]"


class Batches(Generic[Item, Answer]):
    """Groups items into batches, one batch under way at a time, in order.

    What is added in one turn of the event loop, and what is added while a batch is under way, goes in the next batch.
    So a single item waits for nothing, and many share a round trip. There is no background task while there is nothing
    to do.

    Args:
        execute: takes a batch, and gives an answer or an error for each item. What it raises is raised for all.
        size: bytes of an item; a batch has no more than 4 MiB and 512 items, or what a single caller has added.
    """

    def __init__(
        self,
        execute: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | BaseException]]],
        size: Callable[[Item], int],
    ) -> None:
        self._execute = execute
        self._size = size
        self._waiting: list[_Group[Item, Answer]] = []
        self._worker: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> Answer:
        """Wait until the item's batch is done, and give the item's answer.

        A caller that is cancelled leaves its item in the batch.
        """
        answer = (await self.add_all((item,)))[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def add_all(self, items: Sequence[Item]) -> "asyncio.Future[Sequence[Answer | BaseException]]":
        """Let items travel in one batch; the future gives an answer or an error for each."""
        answers: asyncio.Future[Sequence[Answer | BaseException]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Group(items, answers))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="batches")
        return answers

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        if self._worker is not None:
            await asyncio.wait({self._worker})

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._run(self._next_batch())
        finally:
            self._worker = None

    def _next_batch(self) -> Sequence[_Group[Item, Answer]]:
        groups, items, size = 0, 0, 0
        for group in self._waiting:
            items += len(group.items)
            size += sum(map(self._size, group.items))
            if groups and (items > MOST_ITEMS or size > _MOST_BYTES):
                break
            groups += 1
        batch, self._waiting = self._waiting[:groups], self._waiting[groups:]
        return batch

    async def _run(self, batch: Sequence[_Group[Item, Answer]]) -> None:
        items = batch[0].items if len(batch) == 1 else [item for group in batch for item in group.items]
        answers: Sequence[Answer | BaseException]
        try:
            answers = await self._execute(items)
        except asyncio.CancelledError:
            for group in batch:
                group.answers.cancel()
            raise
        except Exception as error:  # noqa: BLE001  # handed to those who wait
            answers = [error] * len(items)
        start = 0
        for group in batch:
            end = start + len(group.items)
            if not group.answers.done():
                group.answers.set_result(answers[start:end])
            start = end
