"""What workers write of runs that have ended is read again, whatever the message was, and odd blocks are no error."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskiq import TaskiqMessage
from tests.deliveries import delivery_with
from tests.fuzz.odd import ANY_TEXTS, BYTES, JSON, damaged

from kiqstart.broker.delivery import DONE, Again, Dead, DeadLetterReason, Delivery, Outcome
from kiqstart.broker.results import encode_failure
from kiqstart.broker.run_decoding import Run, runs_of
from kiqstart.broker.run_record import BLOCK_BYTES, RunRecorder
from kiqstart.broker.run_stats import Outcome as Ending
from kiqstart.observability.kept_lines import KeptLines

ENTRY = b"170125000000007-1701250000999"
RECORDER = RunRecorder(lambda time: 1_701_250_000_000 + int(time * 1000))


def delivery(
    *,
    task_id: str = "an-id",
    name: str = "echo",
    args: Sequence[object] = (),
    data: bytes | None = None,
    result: bytes = b'{"is_err":false,"log":null,"return_value":7}',
    outcome: Outcome = DONE,
    problem: str = "",
    logged: Sequence[str] = (),
) -> Delivery:
    message = TaskiqMessage(task_id=task_id, task_name=name, labels={}, labels_types={}, args=list(args), kwargs={})
    made = delivery_with(
        stream="{x}:tasks",
        entry="1701250000000-3",
        data=json.dumps({"task_id": task_id, "task_name": name, "args": args}).encode() if data is None else data,
        worker="kiq-1-5000",
        began_at=0.25,
        seconds=0.5,
        result=result,
        outcome=outcome,
        problem=problem,
        message=message,
    )
    for line in logged:
        made.lines = made.lines or KeptLines(1_000_000)
        made.lines.add(line)
    return made


def read(block: bytes) -> list[Run]:
    return runs_of(ENTRY, {b"runs": block})


@pytest.mark.parametrize("count", [1, 3, 40])
def test_blocks_are_split_where_they_are_large_and_no_run_is_left_out(count: int) -> None:
    run = [delivery(task_id=f"id-{number}", args=["x" * 1900]) for number in range(count)]
    blocks = RECORDER.blocks(run)
    assert [one for part, _ in blocks for one in part] == run
    assert max(len(block) for _, block in blocks) <= BLOCK_BYTES
    found = [one for _, block in blocks for one in read(block)]
    assert [one.task_id for one in found] == [f"id-{number}" for number in range(count)]
    assert {(one.result, one.seconds, one.attempt) for one in found} == {("7", 0.5, 1)}
    assert found[0].began is not None
    assert (found[0].began - found[0].sent).total_seconds() == 0.25
    assert (found[0].ended - found[0].sent).total_seconds() == 0.999


@given(
    task_id=ANY_TEXTS,
    name=ANY_TEXTS,
    args=st.lists(JSON, max_size=2),
    problem=ANY_TEXTS,
    logged=st.lists(ANY_TEXTS, max_size=2),
)
def test_whatever_a_message_holds_its_run_is_read_beside_the_others(
    task_id: str, name: str, args: list[object], problem: str, logged: list[str]
) -> None:
    odd = delivery(task_id=task_id, name=name, args=args, problem=problem, logged=logged)
    found = [run for _, block in RECORDER.blocks([delivery(), odd, delivery()]) for run in read(block)]
    assert [found[0].task_id, found[2].task_id] == ["an-id", "an-id"]
    assert found[1].outcome is found[0].outcome
    assert found[1].log == "\n".join(logged).encode(errors="backslashreplace").decode()
    assert found[0].log == found[2].log == ""
    lost = delivery(outcome=Dead(reason=DeadLetterReason.MALFORMED, detail=problem, message=b""), task_id=task_id)
    [run] = read(RECORDER.block(lost))
    assert run.outcome is Ending.DEAD


@pytest.mark.parametrize("size", [10, 1900, 3000, 100_000])
@pytest.mark.parametrize("task_id", ["an-id", "i" * 8000, 'quo"ted\\'])
def test_a_long_message_keeps_its_id_and_its_tasks_name(size: int, task_id: str) -> None:
    label_first = {"task_name": "echo", "labels": {"long": "l" * size}, "task_id": task_id, "args": ["x" * size]}
    for data in (json.dumps(label_first).encode(), b"\x80 no JSON" * size):
        one = delivery(task_id=task_id, data=data)
        for block in (RECORDER.blocks([one])[0][1], RECORDER.block(one)):
            [run] = read(block)
            assert (run.task_id, run.task) == (task_id, "echo")
            assert len(block) < 8000 + 8000


@pytest.mark.parametrize("size", [10, 5000])
def test_a_result_and_an_error_are_shown_as_far_as_they_are_kept(size: int) -> None:
    value = json.dumps({"is_err": False, "return_value": "é" * size}, ensure_ascii=False).encode()
    [run] = read(RECORDER.blocks([delivery(result=value)])[0][1])
    assert run.result is not None
    assert run.result.startswith('"éé')
    assert run.result.endswith("…") == (size > 1024)
    failed = encode_failure(ValueError("v" * size))
    [run] = read(RECORDER.blocks([delivery(result=failed)])[0][1])
    assert (run.outcome, run.result) == (Ending.FAILED, None)
    assert run.error is not None
    assert run.error.startswith("ValueError")
    [run] = read(RECORDER.block(delivery(outcome=Again(message=b""), result=b"", problem="t" * size + "\nE: why")))
    assert (run.outcome, run.result) == (Ending.RETRIED, None)
    assert run.traceback.endswith("E: why")


BLOCKS = st.sampled_from(
    [RECORDER.blocks([delivery(), delivery()])[0][1], RECORDER.block(delivery(problem="E: x", logged=["a line"]))]
)


@given(damaged(BLOCKS) | BYTES | st.just(b"2s default kiq-1 host:1\n1 1 1 1 1 0 0 0\n"))
def test_odd_blocks_are_passed_over(block: bytes) -> None:
    for run in read(block):
        assert run.outcome in set(Ending)
    assert not runs_of(b"18446744073709551615-18446744073709551615", {b"runs": block})
    assert not runs_of(b"1-1", {b"odd": block})
