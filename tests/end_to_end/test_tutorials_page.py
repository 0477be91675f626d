"""docs/from-the-celery-tutorials.md: what it says one writes here is run, and stands where it says."""

import ast
import inspect
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest

from kiqstart import WiringError, register_task
from kiqstart.scheduler import CronSchedule, IntervalSchedule
from kiqstart.tasks.task_options import OPTIONS, option_problem
from todo_service.delivery.tasks.names import TaskName
from todo_service.delivery.tasks.registry import TasksRegistry
from todo_service.delivery.tasks.schedules import SCHEDULES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/from-the-celery-tutorials.md"


def rows(title: str = "") -> Iterator[tuple[str, str]]:
    """What stands there and here in each row below a heading, or on the whole page."""
    text = PAGE.read_text().partition(title)[2].partition("\n## ")[0] if title else PAGE.read_text()
    for line in text.splitlines():
        if line.startswith("| "):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            yield cells[-2], cells[-1]


def spans(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


HERE = [span for _, here in rows() for span in spans(here)]
CALLS = [span for span in HERE if re.match(r"(task = )?\(?await (registry\.\w+|task)\.|registry\.\w+\.", span)]


async def test_each_call_runs(in_memory_registry: TasksRegistry) -> None:
    assert len(CALLS) > 8
    names: dict[str, object] = {"registry": in_memory_registry, "id": "0" * 32}
    for call in CALLS:
        code = compile(call, call, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        running = eval(code, names)  # noqa: S307 - the page's own
        if running is not None:
            await running


def test_schedules_stand_in_the_table() -> None:
    names = {one.__name__: one for one in (CronSchedule, IntervalSchedule, TaskName, timedelta)}
    shown = [span for span in HERE if re.match(r"\w+Schedule\(name", span)]
    assert len(shown) == 2
    assert all(eval(one, names) in SCHEDULES for one in shown)  # noqa: S307 - the page's own


def test_lines_stand_in_the_files_that_are_named() -> None:
    found = 0
    for _, here in rows():
        files = [(PAGE.parent / link).read_text() for link in re.findall(r"\]\((\.\./src/\S+\.py)\)", here)]
        for line in spans(here):
            if files and re.search(r"TaskReference\(|Singleton\(| = \"|^class ", line):
                assert any(line in file for file in files), line
                found += 1
    assert found == 3


@pytest.mark.parametrize("target", sorted({word for span in HERE for word in re.findall(r"^make (\S+)", span)}))
def test_make_has_each_target(target: str) -> None:
    assert f"\n{target}: " in (ROOT / "Makefile").read_text()


def test_options_are_those_of_register_task_and_celerys_are_answered() -> None:
    assert set(OPTIONS) <= set(inspect.signature(register_task).parameters)
    for there, here in rows("### Task options"):
        for option in re.findall(r"(?:^|`)([a-z_]+)=", there):
            if option not in OPTIONS:
                assert "labels of your own" not in str(option_problem([option], [])), option
        for option in re.findall(r"`([a-z_]+)=", here):
            assert option in OPTIONS


def test_cron_expressions_mean_what_is_said() -> None:
    def times(cron: str) -> list[datetime]:
        schedule = CronSchedule(name="x", task=TaskName.PING, cron=cron)
        return list(islice(schedule.occurrences(datetime(2026, 12, 1, tzinfo=UTC)), 10))

    [first_mondays] = [span for span in HERE if "#" in span]
    assert all(time.weekday() == 0 and time.day <= 7 for time in times(first_mondays))
    either = next(span for span in HERE if "1-7 * mon" in span)
    assert times(either)[-1].month == 12
    assert {time.hour for time in times("0 22-23,0-3 * * *")} == {22, 23, 0, 1, 2, 3}
    assert {time.weekday() for time in times("0 0 * * 5-7,1")} == {4, 5, 6, 0}
    for round_trip in ("0 22-3 * * *", "0 0 * * fri-mon"):
        with pytest.raises(WiringError, match="a range cannot go round"):
            times(round_trip)
