import pytest

from todo_service.demo.seed import Plan


@pytest.mark.parametrize("rows", [10, 11, 19, 2_000, 199_999, 10_000_000])
def test_all_rows_are_shared_out(rows: int) -> None:
    plan = Plan.of(rows)
    assert plan.sessions_expired_long_ago + plan.sessions_expired + plan.todos_completed == rows
    assert plan.kept == rows
    assert plan.sessions + plan.todos == 2 * rows
    assert plan.sessions_expired > 0
