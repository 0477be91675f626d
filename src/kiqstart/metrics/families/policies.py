"""Of retention policies: what their clean-ups have done, and what they have left."""

from collections.abc import Sequence

from prometheus_client import Metric

from kiqstart.metrics.families.maker import Families
from kiqstart.metrics.policies import PolicyStats


def families_of_policies(make: Families, policies: Sequence[PolicyStats]) -> list[Metric]:
    """Those of each policy."""
    by_policy = [(one, {"policy": one.policy}) for one in policies]
    labels = ["policy"]
    return [
        make.counter(
            "kiqstart_retention_rows_total",
            "Rows that clean-ups have deleted, archived or updated.",
            labels,
            [(found, one.rows) for one, found in by_policy],
        ),
        make.counter(
            "kiqstart_retention_batches_total",
            "Batches of clean-ups, each a transaction.",
            labels,
            [(found, one.batches) for one, found in by_policy],
        ),
        make.counter(
            "kiqstart_retention_batch_seconds_total",
            "Seconds that these batches took.",
            labels,
            [(found, one.seconds) for one, found in by_policy],
        ),
        make.counter(
            "kiqstart_retention_runs_total",
            "Runs of clean-ups that ended, by why: `end` where all rows were gone through.",
            ["policy", "stopped"],
            [({**found, "stopped": stopped}, count) for one, found in by_policy for stopped, count in one.runs.items()],
        ),
        make.gauge(
            "kiqstart_retention_backlog_rows",
            "Rows that were left to go after a policy's latest batch, by estimate.",
            labels,
            [(found, one.backlog) for one, found in by_policy if one.backlog is not None],
        ),
        make.gauge(
            "kiqstart_retention_last_success_timestamp_seconds",
            "When a clean-up last went through all rows of a policy; 0 where none is known to have.",
            labels,
            [(found, one.last_success) for one, found in by_policy],
        ),
    ]
