"""The service and a scheduler that ticks, each process' spans as lines of JSON in a file of `TRACES`."""

import os
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

_file = (Path(os.environ["TRACES"]) / f"{os.getpid()}.jsonl").open("a")
_provider = TracerProvider()
_provider.add_span_processor(
    SimpleSpanProcessor(ConsoleSpanExporter(out=_file, formatter=lambda span: f"{span.to_json(indent=None)}\n"))
)
trace.set_tracer_provider(_provider)

from tests.end_to_end.apps.ticking import scheduler  # noqa: E402  # with the provider

from todo_service.delivery.tasks.app import broker  # noqa: E402

__all__ = ["broker", "scheduler"]
