"""Histories as the fault suite records them, made up."""

import json
from pathlib import Path

SUITE, MANAGER, ONE, OTHER = 1, 100, 101, 201
LINES = list[dict[str, object]]


def event(mark: str, name: str, at: float, pid: int = SUITE, /, **details: object) -> dict[str, object]:
    return {"event": mark, "id": name, "pid": pid, "at": at, "wall": at, **details}


def write(file: Path, lines: LINES) -> Path:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def run(
    name: str, start: float, end: float, pid: int = ONE, *, tried: int = 0, how: str = "ok", again: bool = False
) -> LINES:
    token = f"{name}.{start:g}"
    return [
        event("start", name, start, pid, run=token, tried=tried),
        event("end", name, end, pid, run=token, tried=tried, how=how, again=again),
    ]


def sent(name: str, at: float, **labels: object) -> LINES:
    return [event("sending", name, at, **labels), event("sent", name, at + 0.1)]


def heard(name: str, at: float, outcome: str) -> LINES:
    return [event("heard", name, at, outcome=outcome)]


def cancelled(name: str, at: float, found: str) -> LINES:
    return [event("cancelling", name, at), event("cancelled", name, at + 0.1, found=found)]


def right_history() -> LINES:
    """Ten seconds in which all was kept: each task has its name from what befalls it."""
    results = {
        "plain": "ok:plain.1",
        "retried": "ok:retried.3",
        "spent": "error:spent.3",
        "holder": "ok:holder.2",
        "next": "ok:next.7",
        "killed": "ok:killed.10",
        "waited": "cancelled:",
        "stopped": "cancelled:",
        "marked": "cancelled:",
        "late": "ok:late.2",
        "poison": "lost:",
    }
    lines = [
        event("scenario", "made up", 0.0, lease=5.0),
        event("ready", str(MANAGER), 0.1, ONE),
        event("ready", "200", 0.1, OTHER),
        *sent("plain", 0.5),
        *run("plain", 1.0, 2.0),
        *heard("plain", 2.1, "ok:plain.1"),
        *sent("retried", 0.5, max_retries=2),
        *run("retried", 1.0, 2.0, how="error", again=True),
        *run("retried", 3.0, 4.0, OTHER, tried=1),
        *heard("retried", 4.1, "ok:retried.3"),
        *sent("spent", 0.5, max_retries=1),
        *run("spent", 1.0, 2.0, how="error", again=True),
        *run("spent", 3.0, 4.0, OTHER, tried=1, how="error"),
        *heard("spent", 4.1, "error:spent.3"),
        *sent("holder", 1.0, unique="key"),
        *run("holder", 2.0, 4.0),
        event("sending", "second", 2.5, unique="key"),
        event("held", "second", 2.6, holder="holder"),
        *heard("holder", 4.1, "ok:holder.2"),
        *sent("next", 6.0, unique="key"),
        *run("next", 7.0, 8.0, OTHER),
        *sent("killed", 0.5),
        event("start", "killed", 1.5, ONE, run="killed.1.5", tried=0),
        *run("killed", 10.0, 11.0, OTHER),
        *heard("killed", 11.1, "ok:killed.10"),
        *sent("waited", 0.5, delay=5.0),
        *cancelled("waited", 2.0, "delayed"),
        *heard("waited", 2.2, "cancelled:"),
        *sent("stopped", 0.5),
        event("start", "stopped", 1.0, OTHER, run="stopped.1", tried=0),
        *cancelled("stopped", 2.0, "running"),
        event("cut", "stopped", 2.5, OTHER, run="stopped.1", tried=0),
        *heard("stopped", 2.6, "cancelled:"),
        *cancelled("marked", 0.5, "unknown"),
        *sent("marked", 2.0),
        *heard("marked", 2.5, "cancelled:"),
        *sent("late", 1.0),
        *run("late", 2.0, 3.0),
        *heard("late", 3.1, "ok:late.2"),
        *cancelled("late", 4.0, "ended"),
        event("sending", "ambiguous", 1.0),
        event("failed", "ambiguous", 2.0, error="away"),
        *sent("poison", 0.5),
        event("start", "poison", 2.0, 301, run="poison.2", tried=0),
        event("deadly", "poison", 2.5, 301),
        event("due", "tick@1", 9.5),
        *run("tick@1", 5.0, 5.5, OTHER),
        event("fault", "0", 9.2, kind="kill -9", hit=MANAGER, grace=0.0, note=""),
        event(
            "looked",
            "",
            20.0,
            messages=[],
            letters=[
                {"id": "1-0", "task": "spent", "reason": "retries-exhausted"},
                {"id": "2-0", "task": "poison", "reason": "worker-lost"},
            ],
            held={},
            keys={":dead": False, ":result:plain": True, "": False},
            results=results,
        ),
    ]
    return sorted(lines, key=lambda line: float(str(line["at"])))
