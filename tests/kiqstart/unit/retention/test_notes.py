from kiqstart.retention.notes import describe_run
from kiqstart.retention.report import MAX_FAILURES, FailureGroup
from kiqstart.retention.state import ShardState


def failing(numbers: range, error: str) -> ShardState:
    """Rows that each are a kind of failure of their own, as without an `error_key`."""
    rows = tuple(FailureGroup({"id": number}, {"id": number}, error, 1) for number in numbers)
    return ShardState(todo=()).with_failures(rows)


def test_a_cause_has_all_its_rows_however_few_of_them_are_listed() -> None:
    states = [failing(range(5 * MAX_FAILURES), "frozen"), failing(range(3), "frozen")]
    assert describe_run(states, 0) == (f"{5 * MAX_FAILURES + 3} rows cannot be deleted: frozen",)


def test_more_causes_than_there_are_lines_are_counted_together() -> None:
    state = ShardState(todo=())
    for number in range(3 * MAX_FAILURES):
        state = state.with_failures((FailureGroup({}, {"id": number}, f"frozen {number}", 2),))
    notes = describe_run([state], 0)
    assert notes[0] == "2 rows cannot be deleted: frozen 0"
    assert notes[-1] == f"{6 * MAX_FAILURES - 10} rows cannot be deleted for other causes"
    assert len(state.causes) == MAX_FAILURES
