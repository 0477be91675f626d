"""A right history is broken in one place, and the checker names the task and what is wrong with it."""

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from tests.faults.promises import HistoryError, check, read_history
from tests.kiqstart.unit.faults.histories import (
    LINES,
    ONE,
    OTHER,
    cancelled,
    event,
    heard,
    right_history,
    run,
    sent,
    write,
)

# A broken history, the task that the checker must name, and what it must say.
Broken = tuple[LINES, str, str]
BREAKERS: dict[str, Callable[[LINES], Iterator[Broken]]] = {}


def breaker(function: Callable[[LINES], Iterator[Broken]]) -> Callable[[LINES], Iterator[Broken]]:
    BREAKERS[function.__name__] = function
    return function


def of(lines: LINES, mark: str) -> LINES:
    return [line for line in lines if line["event"] == mark]


def without(lines: LINES, *gone: dict[str, object]) -> LINES:
    return [line for line in lines if line not in gone]


def changed(lines: LINES, line: dict[str, object], **details: object) -> LINES:
    return [{**one, **details} if one is line else one for one in lines]


def look_with(lines: LINES, **details: object) -> LINES:
    (look,) = of(lines, "looked")
    return changed(lines, look, **details)


def result_of(lines: LINES) -> dict[str, str]:
    (look,) = of(lines, "looked")
    return cast("dict[str, str]", look["results"])


def accepted(lines: LINES) -> list[str]:
    """Those that end by running."""
    return [str(one["id"]) for one in of(lines, "sent") if one["id"] not in {"waited", "stopped", "marked", "poison"}]


@breaker
def an_accepted_task_never_runs(lines: LINES) -> Iterator[Broken]:
    for name in accepted(lines):
        if name not in {"spent", "late"}:
            kept = [line for line in lines if line["id"] != name or line["event"] in {"sending", "sent"}]
            yield kept, name, "accepted and never ended"


@breaker
def a_retry_is_lost(lines: LINES) -> Iterator[Broken]:
    last = [line for line in lines if line.get("tried") == 1 and line["id"] == "retried"]
    yield without(lines, *last), "retried", "retried~1 was accepted and never ended"


@breaker
def an_accepted_task_has_no_result(lines: LINES) -> Iterator[Broken]:
    results = result_of(lines)
    for name in results:
        yield look_with(lines, results={k: v for k, v in results.items() if k != name}), name, "has no result"


@breaker
def a_task_runs_again_without_a_reason(lines: LINES) -> Iterator[Broken]:
    for end in of(lines, "end"):
        name, tried = str(end["id"]), int(str(end["tried"]))
        yield [*lines, *run(name, 12.0, 13.0, OTHER, tried=tried)], name, "ran again without any fault"


@breaker
def a_task_runs_twice_at_once(lines: LINES) -> Iterator[Broken]:
    for start in of(lines, "start"):
        if start["id"] not in {"poison", "stopped", "killed"} and start["pid"] == OTHER:
            at = float(str(start["at"])) + 0.05
            yield (
                [*lines, *run(str(start["id"]), at, at + 3, ONE, tried=int(str(start["tried"])))],
                str(start["id"]),
                ("runs twice at once"),
            )


@breaker
def two_have_one_key(lines: LINES) -> Iterator[Broken]:
    rival = sent("rival", 2.2, unique="key")
    yield [*lines, *rival], "rival", "was accepted while holder has its key key"
    yield [*lines, *rival, *run("rival", 3.0, 3.5, OTHER)], "rival", "with its key key"
    refused = [event("sending", "rival", 2.2, unique="key"), event("failed", "rival", 2.3, error="")]
    yield [*lines, *refused, *run("rival", 3.0, 3.5, OTHER)], "rival", "with its key key"


@breaker
def a_key_s_answer_is_not_true(lines: LINES) -> Iterator[Broken]:
    (held,) = of(lines, "held")
    yield [*lines, *run("second", 5.0, 5.5, OTHER)], "second", "its sender was told that holder holds its key"
    late = [event("sending", "rival", 5.0, unique="key"), event("held", "rival", 5.1, holder="holder")]
    yield [*lines, *late], "rival", "which had ended"
    assert held["id"] == "second"


@breaker
def a_key_is_held_for_ever(lines: LINES) -> Iterator[Broken]:
    yield look_with(lines, held={"key": "next"}), "next", "key key is held for ever"


@breaker
def what_was_cancelled_begins(lines: LINES) -> Iterator[Broken]:
    for name, at in (("waited", 2.5), ("stopped", 3.0), ("marked", 2.2)):
        yield [*lines, *run(name, at, at + 0.1)], name, "begins after its cancellation was answered"


@breaker
def what_has_ended_is_cancelled(lines: LINES) -> Iterator[Broken]:
    for found in ("waiting", "delayed", "running"):
        yield [*lines, *cancelled("plain", 5.0, found)], "plain", "was cancelled after its caller had its outcome"


@breaker
def a_caller_hears_something_else(lines: LINES) -> Iterator[Broken]:
    for one in of(lines, "heard"):
        name, told = str(one["id"]), one["outcome"]
        for other in ("ok:nobody.1", "error:plain.1", "garbled:plain.1", "cancelled:", "lost:", "OSError:"):
            is_true = other == told or (other == "cancelled:" and name == "late") or (other, name) == ("lost:", "spent")
            if not is_true:
                yield changed(lines, one, outcome=other), name, f"the outcome of task {name} is not true: "
                yield [*lines, *heard(name, 15.0, other)], name, "has several outcomes"


@breaker
def a_caller_waits_in_vain(lines: LINES) -> Iterator[Broken]:
    for one in of(lines, "heard"):
        yield [*without(lines, one), event("unheard", str(one["id"]), 19.0)], str(one["id"]), "waits in vain"


@breaker
def a_scheduled_time_is_not_sent_once(lines: LINES) -> Iterator[Broken]:
    yield [*lines, event("due", "tick@2", 9.5)], "tick@2", "never ended"
    yield [*lines, *run("tick@1", 6.0, 6.1, ONE)], "tick@1", "ran again without any fault"


@breaker
def something_is_left(lines: LINES) -> Iterator[Broken]:
    for kind, where in (("stream", "faults"), ("delayed", "{faults}:delayed")):
        left = [{"kind": kind, "task": "plain", "where": where}]
        yield look_with(lines, messages=left), "plain", f"is left in {where}"


@breaker
def what_has_failed_for_good_is_not_kept(lines: LINES) -> Iterator[Broken]:
    letters = [{"id": "2-0", "task": "poison", "reason": "worker-lost"}]
    yield look_with(lines, letters=letters), "spent", "has had all of its tries, and is no dead letter"


@breaker
def a_key_has_no_bound(lines: LINES) -> Iterator[Broken]:
    for key, expires in (
        (":result:plain", False),
        (":unique:places", False),
        (":cancelled:x", True),
        ("foreign:x", True),
    ):
        yield look_with(lines, keys={key: expires}), "", f"the key {key} is left"


@breaker
def an_innocent_is_blamed(lines: LINES) -> Iterator[Broken]:
    letters = [{"id": "3-0", "task": "killed", "reason": "worker-lost"}]
    yield look_with(lines, letters=letters), "killed", "never hurt its worker"


def checked(file: Path, lines: LINES) -> list[str]:
    ordered = sorted(copy.deepcopy(lines), key=lambda line: float(str(line["at"])))
    return check(read_history(write(file, ordered)))


def test_a_right_history_breaks_nothing(tmp_path: Path) -> None:
    assert checked(tmp_path / "history", right_history()) == []


@pytest.mark.parametrize("name", BREAKERS)
def test_each_breach_is_named(tmp_path: Path, name: str) -> None:
    cases = list(BREAKERS[name](right_history()))
    assert cases
    for number, (lines, task, text) in enumerate(cases):
        found = checked(tmp_path / f"history-{number}", lines)
        named = [line for line in found if line.startswith(f"{task}: " if task else "") and text in line]
        assert named, f"case {number}: {text!r} of {task!r} is not among {found}"
        assert all("\n" not in line for line in found)
        assert not task or f" {task}" in f" {named[0]}"


@pytest.mark.parametrize(
    ("kind", "harm"),
    [
        ("kill -9", {"hit": ONE}),
        ("freeze", {"hit": ONE}),
        ("SIGTERM", {"hit": ONE, "grace": 0.5}),
    ],
)
def test_what_a_fault_gave_to_another_worker_breaks_nothing(tmp_path: Path, kind: str, harm: dict[str, Any]) -> None:
    lines = [
        event("ready", "100", 0.0, ONE),
        *sent("task", 0.5, unique="key"),
        event("start", "task", 1.0, ONE, run="first", tried=0),
        {**event("fault", "0", 2.0, kind=kind, grace=0.0, note=""), **harm},
        event("over", "0", 9.0),
        event("start", "task", 9.5, OTHER, run="second", tried=0),
        event("end", "task", 9.8, OTHER, run="second", tried=0, how="ok", again=False),
        *sent("next", 9.9, unique="key"),
        *run("next", 10.1, 10.2, OTHER),
    ]
    assert checked(tmp_path / "history", lines) == []
    assert checked(tmp_path / "history", [line for line in lines if line["event"] not in {"fault", "over"}])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot be read"),
        ("start a 1 2\n", "see line 1"),
        ('{"event": "start"}\n', "see line 1"),
        ("[]\n", "see line 1"),
    ],
)
def test_what_is_no_history_is_refused(tmp_path: Path, text: str | None, problem: str) -> None:
    file = tmp_path / "history"
    if text is not None:
        file.write_text(text)
    with pytest.raises(HistoryError, match=problem):
        read_history(file)


def test_kept_histories_are_checked_by_the_command(tmp_path: Path) -> None:
    right = write(tmp_path / "right", right_history())
    broken = write(tmp_path / "broken", look_with(right_history(), held={"key": "next"}))
    command = [sys.executable, "-m", "tests.faults", "--check", str(right), str(broken), str(tmp_path / "missing")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"{right}: {len(right_history())} events of 14 accepted tries: 0 breaches" in checked.stdout
    assert "next: key key is held for ever by next [6.000 sending unique=key (pid 1)" in checked.stdout
    assert (checked.stderr, checked.returncode) == (
        f"{tmp_path / 'missing'} cannot be read: No such file or directory\n",
        2,
    )
