import math

from kiqstart.observability.exposition import Metric, MetricType, Sample, exposition


def test_metrics_are_written_as_prometheus_reads_them() -> None:
    metrics = [
        Metric(
            name="sent_total",
            description="Sent \\ so far,\nin all.",
            type=MetricType.COUNTER,
            samples=[Sample(value=3), Sample(value=10**12, labels={"name": 'a "b"\\\n'})],
        ),
        Metric(name="age_seconds", description="Age.", samples=[Sample(value=math.inf), Sample(value=0.25)]),
        Metric(name="none", description="None.", samples=[]),
    ]
    assert exposition(metrics, labels={"service": "kiq"}) == (
        "# HELP sent_total Sent \\\\ so far,\\nin all.\n"
        "# TYPE sent_total counter\n"
        'sent_total{service="kiq"} 3\n'
        'sent_total{service="kiq",name="a \\"b\\"\\\\\\n"} 1000000000000\n'
        "# HELP age_seconds Age.\n"
        "# TYPE age_seconds gauge\n"
        'age_seconds{service="kiq"} +Inf\n'
        'age_seconds{service="kiq"} 0.25\n'
        "# HELP none None.\n"
        "# TYPE none gauge\n"
    )
