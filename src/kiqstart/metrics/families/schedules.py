"""Of schedules and schedulers: what is due, and what became of what was."""

import math

from prometheus_client import Metric

from kiqstart.metrics.families.maker import Families
from kiqstart.metrics.figures import Figures
from kiqstart.scheduler.scheduler_stats import DueOutcome


def families_of_schedules(make: Families, figures: Figures) -> list[Metric]:
    """Those of all schedules."""
    found, stats = figures.schedules, figures.schedule_stats
    age = found.heartbeats.seconds_since_any
    states = {"active": found.active, "paused": found.paused, "unreadable": len(found.unreadable)}
    return [
        make.gauge("kiqstart_schedulers", "Schedulers that live.", (), [({}, found.heartbeats.living)]),
        make.gauge(
            "kiqstart_scheduler_last_poll_age_seconds",
            "Seconds since any scheduler last polled for what is due; +Inf where none is known.",
            (),
            [({}, math.inf if age is None else age)],
        ),
        make.gauge(
            "kiqstart_schedules_overdue_seconds",
            "Seconds by which the most overdue schedule is late.",
            (),
            [({}, found.seconds_overdue)],
        ),
        make.gauge(
            "kiqstart_schedules",
            "Schedules, those included that were added at run time.",
            ["state"],
            [({"state": state}, count) for state, count in states.items()],
        ),
        make.gauge(
            "kiqstart_schedule_next_due_timestamp_seconds",
            "When each schedule of the table is due next, unless it is paused.",
            ["schedule"],
            [({"schedule": one.definition.name}, one.due.timestamp()) for one in found.table if one.due is not None],
        ),
        make.counter(
            "kiqstart_schedule_times_total",
            "Times at which schedules were due, by what became of them; '' for schedules that were added at run time.",
            ["schedule", "outcome"],
            [
                ({"schedule": name, "outcome": outcome.value}, stats.outcomes.get(name, {}).get(outcome, 0))
                for name in sorted({*stats.outcomes, *(one.definition.name for one in found.table)})
                for outcome in DueOutcome
            ],
        ),
        make.histogram(
            "kiqstart_schedule_lateness_seconds",
            "By how much what schedulers have sent was late.",
            (),
            [({}, stats.lateness)],
        ),
    ]
