"""How a run is printed: in a line or two of a list, with all that is kept of it, or as JSON."""

from dataclasses import asdict
from datetime import datetime
from typing import Final

from kiqstart.broker.run_decoding import Run
from kiqstart.broker.whereabouts import Place, Whereabouts
from kiqstart.cli.terminal import shown, shown_lines
from kiqstart.operations.progress import said_of_progress
from kiqstart.operations.schedule_wording import shown_seconds

_LONGEST_LINE: Final = 400


def run_lines(run: Run) -> str:
    """When it ended, how, how long it took, its id and its task; below it what it raised.

    Nothing is cut in a narrow window: what has no room stands in the next line.
    """
    took = "-" if run.began is None else shown_seconds(run.seconds)
    ended, names = f"{run.ended.astimezone():%m-%d %H:%M:%S}", f"{_or_none(run.task_id)}  {_or_none(run.task)}"
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
    return "\n".join([*lines, *(["", shown_lines(run.traceback.strip("\n"))] if run.traceback else [])])


def whereabouts_line(now: Whereabouts) -> str:
    """Where a task is now."""
    since = shown_time(now.since)
    if now.place is Place.DELAYED:
        return f"delayed: due {since}"
    if now.place is Place.WAITING:
        return f"waiting in the queue {shown(now.queue)} since {since}"
    host = f" on {shown(now.host)}, process {now.pid}" if now.host else ""
    line = f"running since {since}: worker {shown(now.worker)}{host}"
    return line if now.progress is None else f"{line}\n{'progress':10}  {shown(said_of_progress(now.progress))}"


def as_fields(found: Run | Whereabouts) -> dict[str, object]:
    """What `--json` prints of it; times are ISO 8601, in UTC."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(found).items()}


def shown_time(time: datetime) -> str:
    """A time, to the millisecond."""
    local = time.astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03} {local:%Z}"


def _or_none(name: str | None) -> str:
    return shown(name) if name else "-"
