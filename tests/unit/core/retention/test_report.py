from kiqstart.core.retention.report import MAX_FAILURES, RetentionFailure, RetentionTally


def test_batches_add_up() -> None:
    tally = RetentionTally()
    tally.add_batch(5, 0.2)
    tally.add_batch(3, 0.1)
    report = tally.report("todos", 0.5)
    assert (report.policy, report.deleted, report.batches, report.seconds) == ("todos", 8, 2, 0.5)
    assert report.longest_batch == 0.2
    assert report.errors == ()


def test_rows_that_fail_alike_are_one_entry() -> None:
    tally = RetentionTally()
    for _ in range(1_000):
        tally.add_failure({"user_id": 7}, "forbidden")
    tally.add_failure({"user_id": 8}, "forbidden")
    report = tally.report("todos", 0.5)
    assert report.failed == 1_001
    assert report.errors == (
        RetentionFailure(key={"user_id": 7}, error="forbidden", rows=1_000),
        RetentionFailure(key={"user_id": 8}, error="forbidden", rows=1),
    )


def test_the_report_keeps_the_first_failures_and_counts_all() -> None:
    tally = RetentionTally()
    for user_id in range(5 * MAX_FAILURES):
        tally.add_failure({"user_id": user_id}, "forbidden")
    report = tally.report("todos", 0.5)
    assert report.failed == 5 * MAX_FAILURES
    assert [failure.key["user_id"] for failure in report.errors] == list(range(MAX_FAILURES))
