from dataclasses import replace

import pytest

from todo_service.demo.errors import DemoError
from todo_service.demo.figures import Figures

RIGHT = Figures(title="todos", found=10, deleted=10, before=25, kept=15, left=0, seconds=0.5)


def test_figures_that_agree_pass() -> None:
    RIGHT.check()
    assert RIGHT.rows_per_second == 20


@pytest.mark.parametrize(
    "wrong",
    [
        replace(RIGHT, found=11),
        replace(RIGHT, deleted=9),
        replace(RIGHT, before=26),
        replace(RIGHT, kept=14),
        replace(RIGHT, left=1),
    ],
)
def test_a_row_too_many_or_too_few_is_an_error(wrong: Figures) -> None:
    with pytest.raises(DemoError, match=r"^todos: the task reports"):
        wrong.check()


def test_a_run_too_short_to_measure_has_no_rate() -> None:
    assert replace(RIGHT, seconds=0).rows_per_second == 0
