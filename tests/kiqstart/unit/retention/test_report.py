from kiqstart.retention.report import MAX_FAILURES, FailureGroup, merge_failures


def group(user_id: int, error: str = "forbidden", *, todo: int = 1, rows: int = 1) -> FailureGroup:
    return FailureGroup({"user_id": user_id}, {"user_id": user_id, "id": todo}, error, rows)


def test_rows_that_fail_alike_are_one_entry_with_the_first_ones_key() -> None:
    merged = merge_failures(
        [*(group(7, todo=number) for number in range(5, 1_005)), group(8), group(7, "locked away", todo=3), group(8)]
    )
    assert merged == (group(7, todo=5, rows=1_000), group(8, rows=2), group(7, "locked away", todo=3))


def test_what_is_merged_can_be_merged_again() -> None:
    first = merge_failures([group(7, todo=5), group(7, todo=6)])
    assert merge_failures([*first, group(7, todo=1, rows=3)]) == (group(7, todo=5, rows=5),)


def test_the_first_failures_are_kept_and_counted_on() -> None:
    merged = merge_failures([*(group(number) for number in range(5 * MAX_FAILURES)), group(0), group(MAX_FAILURES)])
    assert [one.group["user_id"] for one in merged] == list(range(MAX_FAILURES))
    assert merged[0].rows == 2
