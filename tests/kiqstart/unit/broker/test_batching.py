import asyncio
from collections.abc import Awaitable, Sequence

import pytest

from kiqstart.broker.batcher import Batches, Work
from kiqstart.testing import eventually

MEBIBYTE = 1024 * 1024


class Execution(Work[int, str, str]):
    """Answers each item with its text, when it may; remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.under_way = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    def begin(self, items: Sequence[int]) -> Awaitable[str]:
        self.batches.append(list(items))
        self.under_way += 1
        assert self.under_way == 1
        return self._run(items)

    async def _run(self, items: Sequence[int]) -> str:
        await self.may_end.wait()
        await asyncio.sleep(0)
        self.under_way -= 1
        if 13 in items or 17 in items:
            raise RuntimeError("the whole batch")
        return "done"

    def answers(self, items: Sequence[int], outcome: str) -> Sequence[str | BaseException]:
        assert outcome == "done"
        if 19 in items:
            raise LookupError("no answer to be made of it")
        return [ValueError(str(item)) if item < 0 else str(item) for item in items]

    async def mend(self, items: Sequence[int], error: Exception) -> Sequence[str | BaseException]:
        if 17 in items:
            await asyncio.sleep(0)
            return self.answers(items, "done")
        raise error


@pytest.fixture
def execution() -> Execution:
    return Execution()


@pytest.fixture
def batches(execution: Execution) -> Batches[int, str, str]:
    return Batches(execution, size=lambda item: item)


async def until_under_way(execution: Execution) -> None:
    async def is_under_way() -> bool:
        return execution.under_way > 0

    await eventually(is_under_way)


async def test_what_is_added_in_one_turn_travels_together_in_order(
    batches: Batches[int, str, str], execution: Execution
) -> None:
    assert await asyncio.gather(*(batches.add(item) for item in range(5))) == ["0", "1", "2", "3", "4"]
    assert execution.batches == [[0, 1, 2, 3, 4]]


async def test_what_is_added_while_a_batch_is_under_way_waits_for_the_next_one(
    batches: Batches[int, str, str], execution: Execution
) -> None:
    execution.may_end.clear()
    first = asyncio.create_task(batches.add(1))
    await until_under_way(execution)
    others = [asyncio.create_task(batches.add(item)) for item in (2, 3)]
    await asyncio.sleep(0)
    assert execution.batches == [[1]]
    execution.may_end.set()
    assert await asyncio.gather(first, *others) == ["1", "2", "3"]
    assert execution.batches == [[1], [2, 3]]


async def test_each_caller_gets_its_own_error(batches: Batches[int, str, str]) -> None:
    answers = await asyncio.gather(*(batches.add(item) for item in (1, -2, 3)), return_exceptions=True)
    assert [answers[0], answers[2]] == ["1", "3"]
    assert isinstance(answers[1], ValueError)
    assert str(answers[1]) == "-2"


async def test_a_batch_that_fails_as_a_whole_fails_for_all_of_its_callers_only(batches: Batches[int, str, str]) -> None:
    answers = await asyncio.gather(*(batches.add(item) for item in (1, 13)), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["the whole batch"] * 2
    assert await batches.add(2) == "2"


async def test_an_outcome_that_gives_no_answers_fails_for_its_callers_only(batches: Batches[int, str, str]) -> None:
    with pytest.raises(LookupError):
        await batches.add(19)
    assert await batches.add(2) == "2"


async def test_a_batch_that_fails_may_be_mended_and_those_after_it_wait_for_that(
    batches: Batches[int, str, str], execution: Execution
) -> None:
    execution.may_end.clear()
    callers = [asyncio.create_task(batches.add(17))]
    await until_under_way(execution)
    callers.append(asyncio.create_task(batches.add(2)))
    execution.may_end.set()
    assert await asyncio.gather(*callers) == ["17", "2"]
    assert execution.batches == [[17], [2]]


async def test_a_caller_that_is_cancelled_takes_nothing_from_the_others(
    batches: Batches[int, str, str], execution: Execution
) -> None:
    execution.may_end.clear()
    callers = [asyncio.create_task(batches.add(item)) for item in (1, -2, 3)]
    await until_under_way(execution)
    callers[1].cancel()
    await asyncio.wait({callers[1]})
    execution.may_end.set()
    assert (await callers[0], await callers[2]) == ("1", "3")
    assert execution.batches == [[1, -2, 3]]


async def test_a_batch_has_no_more_than_four_mebibytes_or_a_single_item(
    batches: Batches[int, str, str], execution: Execution
) -> None:
    sizes = [3 * MEBIBYTE, MEBIBYTE, MEBIBYTE, 9 * MEBIBYTE, MEBIBYTE]
    await asyncio.gather(*(batches.add(size) for size in sizes))
    assert execution.batches == [sizes[:2], sizes[2:3], sizes[3:4], sizes[4:]]


async def test_a_batch_has_no_more_than_512_items(batches: Batches[int, str, str], execution: Execution) -> None:
    await asyncio.gather(*(batches.add(0) for _ in range(1100)))
    assert [len(batch) for batch in execution.batches] == [512, 512, 76]


async def test_what_one_caller_adds_stays_together_and_is_answered_one_by_one(
    batches: Batches[int, str, str], execution: Execution
) -> None:
    groups = [batches.add_all([0] * 300), batches.add_all([1, -2] * 150), batches.add_all([3])]
    answers = [await group for group in groups]
    assert [len(batch) for batch in execution.batches] == [300, 301]
    assert [str(answer) for answer in answers[1]] == ["1", "-2"] * 150
    assert {type(answer) for answer in answers[1][1::2]} == {ValueError}


async def test_draining_waits_for_what_is_under_way(batches: Batches[int, str, str], execution: Execution) -> None:
    await batches.drain()
    execution.may_end.clear()
    caller = asyncio.create_task(batches.add(1))
    await until_under_way(execution)
    draining = asyncio.create_task(batches.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    execution.may_end.set()
    await draining
    assert await caller == "1"


@pytest.fixture
def large_execution() -> Execution:
    return Execution()


@pytest.fixture
def lanes(execution: Execution, large_execution: Execution) -> Batches[int, str, str]:
    return Batches(execution, size=lambda item: item, large_work=large_execution)


async def test_what_is_large_goes_its_own_way_and_nobody_waits_for_it(
    lanes: Batches[int, str, str], execution: Execution, large_execution: Execution
) -> None:
    large_execution.may_end.clear()
    large = [asyncio.create_task(lanes.add(size)) for size in (MEBIBYTE, 9 * MEBIBYTE)]
    await until_under_way(large_execution)
    assert await asyncio.gather(*(lanes.add(item) for item in range(3))) == ["0", "1", "2"]
    large_execution.may_end.set()
    await asyncio.gather(*large)
    assert execution.batches == [[0, 1, 2]]
    assert large_execution.batches == [[MEBIBYTE], [9 * MEBIBYTE]]


async def test_what_one_caller_adds_stays_together_where_a_part_of_it_is_large(
    lanes: Batches[int, str, str], execution: Execution, large_execution: Execution
) -> None:
    assert await lanes.add_all([1, MEBIBYTE, 2]) == ["1", str(MEBIBYTE), "2"]
    assert (execution.batches, large_execution.batches) == ([], [[1, MEBIBYTE, 2]])


async def test_draining_waits_for_what_is_large_too(lanes: Batches[int, str, str], large_execution: Execution) -> None:
    large_execution.may_end.clear()
    caller = asyncio.create_task(lanes.add(MEBIBYTE))
    await until_under_way(large_execution)
    draining = asyncio.create_task(lanes.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    large_execution.may_end.set()
    await draining
    assert await caller == str(MEBIBYTE)
