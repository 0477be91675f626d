"""Spans of runs and batches, within whatever span is current when a run is begun."""

from collections.abc import Generator
from contextlib import contextmanager

from kiqstart.observability.tracing import current_tracer, record_error
from kiqstart.retention.policy import RetentionPolicy

# What becomes known in the block, by names that the span has under `kiqstart.retention.`.
Facts = dict[str, str | int | float | bool]


@contextmanager
def traced(what: str, policy: RetentionPolicy, *, is_wanted: bool = True) -> Generator[Facts]:
    """The span of what is done in the block, if anybody traces: in a recording span, and no other.

    Args:
        what: of the policy is done: a run, a batch.
        policy: whose.
        is_wanted: whether there is to be one at all.
    """
    facts: Facts = {}
    tracer = current_tracer() if is_wanted else None
    if tracer is None:
        yield facts
        return
    attributes = {
        "db.system.name": "postgresql",
        "db.collection.name": policy.table.fullname,
        "kiqstart.retention.policy": policy.name,
    }
    with tracer.start_as_current_span(
        f"retention.{what} {policy.name}", attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield facts
        except Exception as error:
            record_error(span, error)
            raise
        finally:
            span.set_attributes({f"kiqstart.retention.{name}": value for name, value in facts.items()})
