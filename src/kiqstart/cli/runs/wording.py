"""How a run, or a task that has not ended, is printed: in some lines of a list, with all that is known, or as JSON."""

from dataclasses import asdict, replace
from datetime import datetime
from itertools import zip_longest
from typing import Final

from kiqstart.broker.argument_values import NO_VALUES
from kiqstart.broker.run_decoding import Run
from kiqstart.broker.whereabouts import Place, Whereabouts
from kiqstart.cli.local_times import shown_moment, zoned
from kiqstart.cli.terminal import shown, shown_lines
from kiqstart.observability.redaction import redact_beginning
from kiqstart.operations.progress import said_of_progress
from kiqstart.operations.schedule_wording import shown_seconds

_LONGEST_LINE: Final = 400


def run_titles() -> str:
    """What stands above `run_lines`."""
    return f"{zoned('ended'):14}  {'outcome':9}  {'took':>7}  task"


def run_lines(run: Run) -> str:
    """When it ended, how, how long it took, its id and its task; below it what it raised.

    Nothing is cut in a narrow window: what has no room stands in the next line.
    """
    took = "-" if run.began is None else shown_seconds(run.seconds)
    ended, names = shown_moment(run.ended), f"{_or_none(run.task_id)}  {_or_none(run.task)}"
    line = f"{ended}  {run.outcome:9}  {took:>7}  {names}"
    return line if run.error is None else f"{line}\n    {shown(run.error[:_LONGEST_LINE])}"


def run_page(run: Run) -> str:
    """All that is kept of a run."""
    facts = {
        "outcome": run.outcome.value,
        "task": run.task or "-",
        "arguments": run.arguments or "-",
        "queue": run.queue,
        "schedule": run.schedule or "-",
        "sent by": run.sent_by or "-",
        "sent": shown_time(run.sent),
        "began": "-" if run.began is None else shown_time(run.began),
        "ended": shown_time(run.ended),
        "took": "-" if run.began is None else shown_seconds(run.seconds),
        "try": str(run.attempt),
        "crashes": str(run.crashes),
        "worker": run.worker,
        "host": f"{run.host or '-'}, process {run.pid}",
        "result": run.result or "-",
        "error": run.error or "-",
    }
    lines = [f"{name:10}  {shown(value)}" for name, value in facts.items()]
    if run.log:
        logged = shown_lines(run.log).split("\n")
        lines += [f"{name:10}  {line}" for name, line in zip_longest(("log",), logged, fillvalue="")]
    return "\n".join([*lines, *(["", shown_lines(run.traceback.strip("\n"))] if run.traceback else [])])


def outstanding_titles(place: Place) -> str:
    """What stands above `outstanding_lines`."""
    since = zoned("due" if place is Place.DELAYED else "since")
    return f"{since:14}  {'place':7}  {'try':>5}  task"


def outstanding_lines(one: Whereabouts) -> str:
    """Since when it is where it is, or when it is due, its try, id and task; below it queue, arguments and worker."""
    since, names = shown_moment(one.since), f"{_or_none(one.task_id)}  {_or_none(one.task)}"
    lines = [f"{since}  {one.place:7}  {f'try {one.attempt}':>5}  {names}"]
    arguments = f": {shown(redact_beginning(one.arguments, _LONGEST_LINE))}" if one.arguments else ""
    lines.append(f"queue {_or_none(one.queue)}{arguments}")
    if one.worker:
        lines.append(_worker_line(one))
    if one.progress is not None:
        lines.append(shown(said_of_progress(one.progress)))
    return "\n    ".join(lines)


def whereabouts_page(now: Whereabouts) -> str:
    """Where a task is now, and what its message says."""
    facts = {
        "task": now.task or "-",
        "arguments": now.arguments or "-",
        "queue": now.queue or "-",
        "schedule": now.schedule or "-",
        "sent by": now.sent_by or "-",
        "sent": "-" if now.sent is None else shown_time(now.sent),
        "try": str(now.attempt),
        "crashes": str(now.crashes),
    }
    lines = [f"{name:10}  {shown(value)}" for name, value in facts.items()]
    return "\n".join([f"{'now':10}  {whereabouts_line(now)}", *lines])


def whereabouts_line(now: Whereabouts) -> str:
    """Where a task is now."""
    since = shown_time(now.since)
    if now.place is Place.DELAYED:
        return f"delayed: due {since}"
    if now.place is Place.WAITING:
        return f"waiting in the queue {shown(now.queue)} since {since}"
    line = f"running since {since}: {_worker_line(now)}"
    return line if now.progress is None else f"{line}\n{'progress':10}  {shown(said_of_progress(now.progress))}"


def as_fields(found: Run | Whereabouts) -> dict[str, object]:
    """What `--json` prints of it; times are ISO 8601, in UTC, and arguments text."""
    fields = asdict(replace(found, values=NO_VALUES))
    del fields["values"]
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}


def shown_time(time: datetime) -> str:
    """A time, to the millisecond."""
    local = time.astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03} {local:%Z}"


def _worker_line(one: Whereabouts) -> str:
    host = f" on {shown(one.host)}, process {one.pid}" if one.host else ""
    return f"worker {shown(one.worker)}{host}"


def _or_none(name: str | None) -> str:
    return shown(name) if name else "-"
