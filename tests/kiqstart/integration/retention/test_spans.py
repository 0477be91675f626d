import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, use_span
from tests.kiqstart.integration.retention.policies import expired_sessions
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.observability import tracing
from kiqstart.retention.policy import ScanKind
from kiqstart.retention.step import Stepper


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> TracerProvider:
    """A provider that counts as the global one, which can be set only once in a process."""
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", made)
    assert tracing.current_tracer() is None
    return made


def rows(span: ReadableSpan) -> object:
    return (span.attributes or {}).get("kiqstart.retention.rows")


@pytest.mark.usefixtures("expired")
async def test_a_run_in_a_recorded_span_has_its_batches_below_it_up_to_a_bound(
    make_retention: EngineFactory,
    provider: TracerProvider,
    exporter: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kiqstart.retention.shard_runner._MOST_SPANS", 4)
    with provider.get_tracer("test").start_as_current_span("request") as request:
        report = await make_retention(batch_rows=50).run(expired_sessions(ScanKind.KEY))
    *batches, run, _ = exporter.get_finished_spans()
    assert (report.deleted, report.batches, len(batches)) == (500, 10, 4)
    assert {(span.name, rows(span)) for span in batches} == {(f"retention.batch {report.policy}", 50)}
    assert run.context is not None
    assert run.parent == request.get_span_context()
    assert {span.parent and span.parent.span_id for span in batches} == {run.context.span_id}
    assert (run.attributes or {}) == {
        "db.system.name": "postgresql",
        "db.collection.name": "refresh_sessions",
        "kiqstart.retention.policy": report.policy,
        "kiqstart.retention.rows": 500,
        "kiqstart.retention.batches": 10,
        "kiqstart.retention.stopped": "end",
    }


@pytest.mark.usefixtures("expired", "provider")
async def test_without_a_recorded_span_there_are_none(
    make_retention: EngineFactory, exporter: InMemorySpanExporter
) -> None:
    retention, policy = make_retention(), expired_sessions(ScanKind.KEY)
    assert (await retention.run(policy)).deleted == 500
    with use_span(NonRecordingSpan(SpanContext(1, 2, is_remote=True))):
        await retention.run(policy)
    assert exporter.get_finished_spans() == ()


@pytest.mark.usefixtures("expired")
async def test_an_error_is_in_the_spans_without_its_secrets(
    make_retention: EngineFactory,
    provider: TracerProvider,
    exporter: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(_: Stepper, __: int | None) -> bool:
        raise RuntimeError("postgresql://shop:hunter2@db/shop is full")

    monkeypatch.setattr(Stepper, "step", fail)
    with provider.get_tracer("test").start_as_current_span("request"), pytest.raises(RuntimeError):
        await make_retention().run(expired_sessions(ScanKind.KEY))
    batch, run, _ = exporter.get_finished_spans()
    for span in (batch, run):
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == "RuntimeError: postgresql://shop:***@db/shop is full"
        assert "hunter2" not in span.to_json()
