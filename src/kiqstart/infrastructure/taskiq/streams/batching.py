"""Lets what happens at the same time travel together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_MOST_ITEMS: Final = 256
_MOST_BYTES: Final = 4 * 1024 * 1024


class Batches(Generic[Item, Answer]):
    """Groups items into batches, one batch under way at a time, in order.

    What is added in one turn of the event loop, and what is added while a batch is under way, goes in the next batch.
    So a single item waits for nothing, and many share a round trip. There is no background task while there is nothing
    to do.

    Args:
        execute: takes a batch, and gives an answer or an error for each item. What it raises is raised for all.
        size: bytes of an item; a batch has no more than 4 MiB, or a single item.
    """

    def __init__(
        self,
        execute: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | BaseException]]],
        size: Callable[[Item], int],
    ) -> None:
        self._execute = execute
        self._size = size
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> Answer:
        """Wait until the item's batch is done, and give the item's answer.

        A caller that is cancelled leaves its item in the batch.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="batches")
        return await future

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

    def _next_batch(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        count, size = 0, 0
        for item, _ in self._waiting[:_MOST_ITEMS]:
            size += self._size(item)
            if count and size > _MOST_BYTES:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _run(self, batch: Sequence[tuple[Item, asyncio.Future[Answer]]]) -> None:
        answers: Sequence[Answer | BaseException]
        try:
            answers = await self._execute([item for item, _ in batch])
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001  # handed to those who wait
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
