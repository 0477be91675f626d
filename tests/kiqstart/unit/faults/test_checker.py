from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.checker import Checker, Verdict
from tests.faults.fault import Fault, Kind
from tests.faults.records import Records
from tests.kiqstart.unit.faults.histories import event, write

LEASE = 5.0
MANAGER, ONE, OTHER = 100, 101, 201
JUDGE = Callable[..., Verdict]
READY = [event("ready", str(MANAGER), 0.0, ONE), event("ready", "200", 0.0, OTHER)]


def verdict_of(file: Path, lines: tuple[str, ...], *faults: Fault, sent: bool = True) -> Verdict:
    sends = [event("sending", "task", 1.0), *([event("sent", "task", 1.1)] if sent else [])]
    runs = [_run(*line.split()) for line in lines]
    records = Records(file=write(file, [*READY, *sends, *runs]))
    records.refresh()
    records.faults.extend(faults)
    return Checker(records, lease=LEASE).verdict()


def _run(mark: str, pid: str, at: str) -> dict[str, object]:
    return event(mark, "task", float(at), int(pid), run=f"{pid}", tried=0, how="ok", again=False)


@pytest.fixture
def judge(tmp_path: Path) -> JUDGE:
    """Judges lines such as `start 101 2.5`, all about one task, which was sent at 1.0."""

    def judge(*lines: str, fault: Fault | None = None, sent: bool = True) -> Verdict:
        return verdict_of(tmp_path / "history", lines, *([fault] if fault else []), sent=sent)

    return judge


def kill(at: float, pid: int = ONE) -> Fault:
    return Fault(kind=Kind.KILL, began=at, ended=at, pid=pid)


def test_a_task_that_ran_once_is_neither_lost_nor_twice(judge: JUDGE) -> None:
    assert judge("start 101 2", "end 101 3") == Verdict(accepted=1)


def test_a_task_that_was_accepted_and_never_ended_is_lost(judge: JUDGE) -> None:
    assert judge("start 101 2").lost == ["task"]


def test_a_task_whose_send_was_refused_cannot_be_lost(judge: JUDGE) -> None:
    assert judge(sent=False) == Verdict(accepted=0)


def test_a_run_after_another_without_any_fault_has_no_leave(judge: JUDGE) -> None:
    assert judge("start 101 2", "end 101 3", "start 201 4", "end 201 5").twice == ["task"]


@pytest.mark.parametrize("pid", [ONE, MANAGER])
def test_a_run_after_the_first_process_was_killed_is_allowed(judge: JUDGE, pid: int) -> None:
    verdict = judge("start 101 2", "start 201 4", "end 201 5", fault=kill(3.0, pid))
    assert (verdict.allowed, verdict.twice) == (["task"], [])


def test_a_kill_of_another_process_is_no_leave(judge: JUDGE) -> None:
    assert judge("start 101 2", "end 101 5", "start 201 4", "end 201 5", fault=kill(3.0, OTHER)).twice == ["task"]


def test_a_kill_after_the_second_start_is_no_leave(judge: JUDGE) -> None:
    assert judge("start 101 2", "start 201 4", "end 201 5", fault=kill(4.5)).twice == ["task"]


def test_a_kill_long_after_the_end_is_no_leave(judge: JUDGE) -> None:
    assert judge("start 101 2", "end 101 3", "start 201 24", "end 201 25", fault=kill(20.0)).twice == ["task"]


def test_one_kill_explains_one_more_run_only(judge: JUDGE) -> None:
    lines = ("start 101 2", "start 201 4", "end 201 5", "start 202 6", "end 202 7")
    assert judge(*lines, fault=kill(3.0)).twice == ["task"]


@pytest.mark.parametrize(("thawed", "allowed"), [(9.0, True), (4.0, False)])
def test_a_freeze_is_a_leave_only_once_the_lease_is_over(judge: JUDGE, thawed: float, allowed: bool) -> None:
    freeze = Fault(kind=Kind.FREEZE, began=3.0, ended=thawed, pid=MANAGER)
    verdict = judge("start 101 2", "start 201 8.5", "end 101 9.5", "end 201 10", fault=freeze)
    assert (verdict.allowed == ["task"], verdict.twice == ["task"]) == (allowed, not allowed)


def test_a_thawed_worker_may_not_start_again_what_it_had_lost(judge: JUDGE) -> None:
    freeze = Fault(kind=Kind.FREEZE, began=1.5, ended=9.0, pid=MANAGER)
    assert judge("start 201 7", "start 101 9.1", "end 201 10", "end 101 10", fault=freeze).twice == ["task"]


@pytest.mark.parametrize(("again", "allowed"), [(7.2, True), (4.0, False)])
def test_a_task_may_run_again_once_its_worker_has_used_up_its_grace(judge: JUDGE, again: float, allowed: bool) -> None:
    asked = Fault(kind=Kind.TERM, began=3.0, ended=3.0, pid=MANAGER, grace=4.0)
    verdict = judge("start 101 2", "cut 101 7.1", f"start 201 {again}", "end 201 10", fault=asked)
    assert (verdict.allowed == ["task"], verdict.twice == ["task"]) == (allowed, not allowed)


def test_a_task_that_ended_within_the_grace_may_not_run_again(judge: JUDGE) -> None:
    asked = Fault(kind=Kind.TERM, began=3.0, ended=3.0, pid=MANAGER, grace=4.0)
    assert judge("start 101 2", "end 101 5", "start 201 8", "end 201 9", fault=asked).twice == ["task"]


def test_an_end_that_could_not_be_acknowledged_since_redis_was_away_is_settled_after_its_return(tmp_path: Path) -> None:
    away = Fault(kind=Kind.REDIS, began=2.5, ended=19.0)
    lines = ("start 101 2", "end 101 3", "start 201 24", "end 201 25")
    assert verdict_of(tmp_path / "history", lines, away, kill(20.0)).allowed == ["task"]
