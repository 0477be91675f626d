"""The figures under the names and types that Prometheus knows; docs/metrics.md has them all."""

from collections.abc import Mapping

from prometheus_client import Metric

from kiqstart.metrics.families.acts import family_of_acts
from kiqstart.metrics.families.maker import Families
from kiqstart.metrics.families.policies import families_of_policies
from kiqstart.metrics.families.queues import families_of_queues
from kiqstart.metrics.families.schedules import families_of_schedules
from kiqstart.metrics.families.tasks import families_of_tasks
from kiqstart.metrics.families.workers import families_of_workers
from kiqstart.metrics.figures import Figures


def families_of(figures: Figures | None, service: str, checks: Mapping[str, bool]) -> list[Metric]:
    """All metrics.

    Args:
        figures: what was read; None: Redis cannot be read, which is the only thing that is said then.
        service: the prefix of the service's keys.
        checks: what was looked at in the application's database, and whether all was well.
    """
    make = Families(service)
    of_database = make.gauge(
        "kiqstart_check_ok",
        "1 where all is well with what was looked at in PostgreSQL; else 0, and `kiqstart check` says why.",
        ["check"],
        [({"check": name}, is_ok) for name, is_ok in checks.items()],
    )
    up = make.gauge(
        "kiqstart_redis_up",
        "1 where Redis could be read; else 0, and nothing else is said but what PostgreSQL has.",
        (),
        [({}, figures is not None)],
    )
    if figures is None:
        return [up, of_database]
    return [
        up,
        of_database,
        *families_of_queues(make, figures),
        *families_of_workers(make, figures),
        *families_of_tasks(make, figures.tasks),
        *families_of_schedules(make, figures),
        *families_of_policies(make, figures.policies),
        family_of_acts(make, figures.acts),
    ]
