"""Of what operators did."""

from collections.abc import Sequence

from prometheus_client import Metric

from kiqstart.broker.acts import RecordedAct
from kiqstart.metrics.families.maker import Families


def family_of_acts(make: Families, acts: Sequence[RecordedAct]) -> Metric:
    """When somebody last did what."""
    # The newest comes first, and so is what an older one does not replace.
    last: dict[tuple[str, str, str], float] = {}
    for one in acts:
        last.setdefault((one.kind, one.by.user, one.by.host), one.at.timestamp())
    return make.gauge(
        "kiqstart_last_act_timestamp_seconds",
        "When somebody last did such an act, of the newest 200; `kiqstart acts` says to what, and why.",
        ["act", "user", "host"],
        [({"act": act, "user": user, "host": host}, at) for (act, user, host), at in last.items()],
    )
