"""Spans of sends and runs, as an exporter gets them, with a worker in the test's own process."""

import asyncio
import base64
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue
from redis.asyncio import Redis
from taskiq import TaskiqMessage, TaskiqMiddleware
from taskiq.kicker import AsyncKicker
from taskiq.middlewares.opentelemetry_middleware import OpenTelemetryMiddleware
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, entries_of, letters_of, working

from kiqstart import InvalidTaskArgumentsError, TracingMiddleware, conceal
from kiqstart.broker import Sealing, UntrustedTaskError
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.in_memory import DelayingInMemoryBroker
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually


class Spans:
    """What was exported."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")

    def all(self) -> Sequence[ReadableSpan]:
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]

    async def wait_for(self, name: str, count: int = 1) -> list[ReadableSpan]:
        async def are_there() -> bool:
            return len(self.named(name)) >= count

        await eventually(are_there)
        assert len(self.named(name)) == count
        return self.named(name)


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def traced(broker: StreamBroker, spans: Spans) -> StreamBroker:
    broker.add_middlewares(TracingMiddleware(spans.provider))
    return broker


def facts(span: ReadableSpan) -> Mapping[str, AttributeValue]:
    return dict(span.attributes or {})


def context_of(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    return span.parent is not None and span.parent.span_id == context_of(parent).span_id


async def test_a_request_its_send_its_run_and_what_that_sends_are_one_trace(traced: StreamBroker, spans: Spans) -> None:
    async def second() -> None:
        with spans.tracer.start_as_current_span("work"):
            await asyncio.sleep(0)

    later = register_task(traced, second, name="second", queue="low")

    async def first() -> str:
        return (await later.kiq()).task_id

    task = register_task(traced, first, name="first")
    traced.queues = {"default": 1, "low": 1}
    async with working(traced):
        with spans.tracer.start_as_current_span("request") as request:
            sent = await task.kiq()
        await sent.result(timeout=HANG)
        [work] = await spans.wait_for("work")
        [process_second] = await spans.wait_for("process second")
        [process_first] = await spans.wait_for("process first")
    [send_first], [send_second] = spans.named("send first"), spans.named("send second")
    chain = [*spans.named("request"), send_first, process_first, send_second, process_second, work]
    assert all(is_child(inner, outer) for outer, inner in pairwise(chain))
    assert {context_of(span).trace_id for span in chain} == {request.get_span_context().trace_id}
    assert [span.kind for span in chain[1:3]] == [SpanKind.PRODUCER, SpanKind.CONSUMER]
    assert facts(send_first) == {
        "messaging.system": "kiqstart",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "default",
        "messaging.message.id": sent.task_id,
        "kiqstart.task": "first",
    }
    assert facts(process_second)["messaging.destination.name"] == "low"
    done = facts(process_first)
    assert (done["kiqstart.outcome"], done["kiqstart.try"], done["kiqstart.worker_crashes"]) == ("succeeded", 1, 0)
    assert str(done["messaging.client.id"]).startswith("kiq-")


async def test_each_try_is_a_child_of_the_send_and_links_to_the_one_before(traced: StreamBroker, spans: Spans) -> None:
    conceal("hush-hush-9", beside="")
    runs: list[int] = []

    async def flaky(token: str) -> int:
        runs.append(1)
        if len(runs) < 3:
            raise OSError(f"no luck with hush-hush-9 at redis://u:{token}@host")
        return len(runs)

    task = register_task(traced, flaky, name="flaky", max_retries=2, retry_delay=0)
    async with working(traced):
        sent = await task.kiq("pass-word-7")
        assert await sent.result(timeout=HANG) == 3
        tries = await spans.wait_for("process flaky", 3)
    [send] = spans.named("send flaky")
    assert all(is_child(one, send) for one in tries)
    assert [facts(one)["kiqstart.outcome"] for one in tries] == ["retried", "retried", "succeeded"]
    assert [facts(one)["kiqstart.try"] for one in tries] == [1, 2, 3]
    links = [[link.context.span_id for link in one.links] for one in tries]
    assert links == [[], [context_of(tries[0]).span_id], [context_of(tries[1]).span_id]]
    assert [one.status.status_code for one in tries] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    [event] = tries[0].events
    assert facts(tries[0])["error.type"] == "OSError"
    assert event.attributes is not None
    assert event.attributes["exception.message"] == "no luck with *** at redis://u:***@host"
    whole = "".join(one.to_json() for one in spans.all())
    assert "hush-hush-9" not in whole
    assert "pass-word-7" not in whole


async def test_kiq_many_is_one_span_and_the_parent_of_all_runs(traced: StreamBroker, spans: Spans) -> None:
    async def double(number: int) -> int:
        return number * 2

    task = register_task(traced, double, name="double")
    async with working(traced):
        for sent in await task.kiq_many(task.call(number) for number in range(20)):
            await sent.result(timeout=HANG)
        runs = await spans.wait_for("process double", 20)
    [send] = spans.named("send double")
    assert facts(send)["messaging.batch.message_count"] == 20
    assert all(is_child(run, send) for run in runs)


async def test_a_send_that_fails_or_is_a_duplicate_says_so_and_leaves_nothing_current(
    traced: StreamBroker, spans: Spans
) -> None:
    async def once(number: int) -> int:
        return number

    task = register_task(traced, once, name="once", unique="once")
    there = await task.kiq(1)
    assert (await task.kiq(1)).task_id == there.task_id
    with pytest.raises(InvalidTaskArgumentsError):
        await task.kiq("one")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # what is refused
    first, second, third = spans.named("send once")
    assert all(span.parent is None for span in (first, second, third))
    assert facts(second)["kiqstart.deduplicated_to"] == facts(first)["messaging.message.id"]
    assert third.status.status_code is StatusCode.ERROR
    assert facts(third)["error.type"] == "kiqstart.tasks.errors.InvalidTaskArgumentsError"


async def test_a_run_that_is_cut_off_or_cancelled_ends_its_span(traced: StreamBroker, spans: Spans) -> None:
    begun = asyncio.Event()

    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = register_task(traced, endless, name="endless")
    async with working(traced, wait_tasks_timeout=0.05):
        await task.kiq()
        await begun.wait()
    [cut] = await spans.wait_for("process endless")
    begun.clear()
    async with working(traced):
        await begun.wait()
        cut_id = str(facts(cut)["messaging.message.id"])
        await traced.cancel(cut_id)
        _, cancelled = await spans.wait_for("process endless", 2)
    assert [facts(span)["kiqstart.outcome"] for span in (cut, cancelled)] == ["interrupted", "cancelled"]
    assert cancelled.status.status_code is StatusCode.UNSET


class Strange(TaskiqMiddleware):
    """Sends labels of a stranger's."""

    def __init__(self, labels: Mapping[str, object]) -> None:
        super().__init__()
        self._labels = labels

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        message.labels.update(self._labels)
        return message


@pytest.mark.parametrize(
    "labels",
    [
        {"traceparent": "nonsense", "tracestate": "a" * 50_000, "baggage": "x=y," * 5000, "previous_try": "00-zz"},
        {"traceparent": {"a": [1]}, "tracestate": 7, "baggage": None, "previous_try": ["x"]},
        {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "previous_try": "00-" + "f" * 31},
        {"traceparent": "01-" + "a" * 32 + "-" + "b" * 16 + "-01-" + "x" * 9000},
        {"traceparent": "ff-" + "a" * 32 + "-" + "b" * 16 + "-01\n", "tracestate": "=,=,\x00" * 99},
    ],
)
async def test_what_a_stranger_sends_as_a_context_is_nothing(
    brokers: Brokers, spans: Spans, labels: Mapping[str, object]
) -> None:
    async def look() -> int:
        return 1

    sender, worker = brokers(), brokers()
    sender.add_middlewares(Strange(labels))
    worker.add_middlewares(TracingMiddleware(spans.provider))
    task = register_task(sender, look, name="look")
    register_task(worker, look, name="look")
    async with working(worker):
        assert await (await task.kiq()).result(timeout=HANG) == 1
        [run] = await spans.wait_for("process look")
    assert run.parent is None
    assert list(run.links) == []


@pytest.mark.parametrize("is_sender_ours", [True, False])
async def test_taskiqs_own_middleware_reads_what_is_sent_and_is_read(
    brokers: Brokers, spans: Spans, is_sender_ours: bool
) -> None:
    async def look() -> int:
        return 1

    sender, worker = brokers(), brokers()
    theirs = OpenTelemetryMiddleware(tracer_provider=spans.provider)
    ours = TracingMiddleware(spans.provider)
    sender.add_middlewares(ours if is_sender_ours else theirs)
    worker.add_middlewares(theirs if is_sender_ours else ours)
    task = register_task(sender, look, name="look")
    register_task(worker, look, name="look")
    async with working(worker):
        assert await (await task.kiq()).result(timeout=HANG) == 1
        [run] = await spans.wait_for("execute/look" if is_sender_ours else "process look")
    [send] = spans.named("send look" if is_sender_ours else "send/look")
    assert is_child(run, send)


async def test_a_task_that_runs_where_it_is_sent_leaves_its_senders_span_current(spans: Spans) -> None:
    broker = DelayingInMemoryBroker(await_inplace=True)
    broker.add_middlewares(TracingMiddleware(spans.provider))

    async def look() -> int:
        raise ValueError("odd")

    task = register_task(broker, look, name="look")
    with spans.tracer.start_as_current_span("request"):
        await task.kiq()
        await AsyncKicker("look", broker, {}).kiq()  # taskiq's own, which opens no span
        with spans.tracer.start_as_current_span("after"):
            pass
    [run, other], [after], [request] = spans.named("process look"), spans.named("after"), spans.named("request")
    assert is_child(run, spans.named("send look")[0])
    assert other.parent is None
    assert is_child(after, request)
    assert facts(run)["kiqstart.outcome"] == "failed"


async def test_without_a_provider_a_message_carries_nothing(broker: StreamBroker) -> None:
    broker.add_middlewares(TracingMiddleware())
    seen: list[Mapping[str, object]] = []

    class Look(TaskiqMiddleware):
        def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
            seen.append(dict(message.labels))
            return message

    async def look() -> int:
        return 1

    broker.add_middlewares(Look())
    task = register_task(broker, look, name="look")
    async with working(broker):
        await (await task.kiq()).result(timeout=HANG)
        [many] = await task.kiq_many([task.call()])
        await many.result(timeout=HANG)
    assert [labels.keys() & {"traceparent", "tracestate", "baggage", "previous_try"} for labels in seen] == [
        set(),
        set(),
    ]


BESIDE = str(Path(__file__).parents[4] / ".local/beside")
OFF = """
import asyncio, sys
from kiqstart import register_task
from kiqstart.broker import StreamBroker
from kiqstart.broker.factory import create_broker
from kiqstart.broker.receiver.stream_receiver import StreamReceiver
from kiqstart.broker.settings import TasksSettings
from kiqstart.redis.settings import RedisSettings
from kiqstart.retention import RetentionEngine

async def ping() -> str:
    return "pong"

async def main() -> None:
    broker = create_broker(RedisSettings(), TasksSettings())
    task = register_task(broker, ping, name="ping")
    finish = asyncio.Event()
    listening = asyncio.create_task(StreamReceiver(broker, run_startup=False).listen(finish))
    print(await (await task.kiq()).result(timeout=200))
    [message] = await task.kiq_many([task.call()])
    print(await message.result(timeout=200))
    finish.set()
    await listening
    await broker.shutdown()
    print([name for name in sys.modules if name.startswith("kiqstart.broker.tracing")])

asyncio.run(main())
"""


@pytest.mark.parametrize("is_installed", [True, False])
def test_nothing_of_what_is_off_is_imported_or_missed(redis_url: str, key_prefix: str, is_installed: bool) -> None:
    # Where it is installed, redis-py imports it for purposes of its own.
    hidden = "" if is_installed else "import sys; sys.modules['opentelemetry'] = None\n"
    environment = {"REDIS_URL": redis_url, "TASKS_KEY_PREFIX": key_prefix, "PYTHONPATH": BESIDE}
    ran = subprocess.run(
        [sys.executable, "-c", hidden + OFF], env=environment, capture_output=True, text=True, check=False, timeout=HANG
    )
    assert (ran.stdout.splitlines(), ran.returncode) == (["pong", "pong", "[]"], 0), ran.stderr


def test_what_is_asked_for_and_not_installed_is_one_line(key_prefix: str, redis_url: str) -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from kiqstart import exit_on_operator_error\n"
        "with exit_on_operator_error():\n"
        "    from kiqstart.broker.factory import create_broker\n"
        "    from kiqstart.broker.settings import TasksSettings\n"
        "    from kiqstart.redis.settings import RedisSettings\n"
        "    create_broker(RedisSettings(), TasksSettings())\n"
    )
    environment = {"REDIS_URL": redis_url, "TASKS_KEY_PREFIX": key_prefix, "TASKS_TRACING": "true"}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=HANG
    )
    assert ran.returncode != 0
    assert ran.stderr.count("\n") == 1
    assert "pip install 'kiqstart[opentelemetry]'" in ran.stderr


async def test_sealed_messages_are_traced_as_plain_ones(brokers: Brokers, spans: Spans, redis: Redis) -> None:
    signing, encryption = (f"a:{base64.b64encode(os.urandom(32)).decode()}" for _ in range(2))
    sealing = Sealing(signing_keys=signing, encryption_keys=encryption)
    sender, worker = brokers(sealing=sealing), brokers(sealing=sealing)
    for broker in (sender, worker):
        broker.add_middlewares(TracingMiddleware(spans.provider))
    runs: list[str] = []

    async def deliver(letter: str) -> str:
        return letter[::-1]

    later = register_task(worker, deliver, name="deliver")

    async def collect(letter: str) -> str:
        runs.append(letter)
        if len(runs) == 1:
            raise ConnectionError("no road")
        await later.kiq(letter)
        return f"collected {letter}"

    register_task(worker, collect, name="collect", max_retries=1, retry_delay=0)
    task = register_task(sender, collect, name="collect", max_retries=1, retry_delay=0)
    async with working(worker):
        with spans.tracer.start_as_current_span("request") as request:
            sent = await task.kiq("swordfish-7")
        assert await sent.result(timeout=10) == "collected swordfish-7"
        [delivered] = await spans.wait_for("process deliver")
        first, second = await spans.wait_for("process collect", 2)
    [send_collect], [send_deliver] = spans.named("send collect"), spans.named("send deliver")
    assert is_child(first, send_collect)
    assert is_child(second, send_collect)
    assert [link.context.span_id for link in second.links] == [context_of(first).span_id]
    assert is_child(send_deliver, second)
    assert is_child(delivered, send_deliver)
    assert [facts(one)["kiqstart.outcome"] for one in (first, second)] == ["retried", "succeeded"]
    assert {context_of(span).trace_id for span in spans.all()} == {request.get_span_context().trace_id}
    # Neither the spans nor Redis have what was encrypted.
    assert "swordfish" not in "".join(span.to_json() for span in spans.all())
    assert not await letters_of(redis, worker)


async def test_a_trace_that_somebody_has_put_into_a_signed_message_is_none(
    brokers: Brokers, spans: Spans, redis: Redis
) -> None:
    sealing = Sealing(signing_keys=f"a:{base64.b64encode(os.urandom(32)).decode()}")
    worker, ran = brokers(sealing=sealing), list[int]()
    worker.add_middlewares(TracingMiddleware(spans.provider))

    async def work(number: int) -> None:
        ran.append(number)

    task = register_task(worker, work, name="work")
    with spans.tracer.start_as_current_span("request"):
        sent = await task.kiq(1)
    [(entry, fields)] = await entries_of(redis, worker.keys.name)
    [trace] = re.findall("00-[0-9a-f]{32}-[0-9a-f]{16}", fields["data"])
    await redis.xdel(worker.keys.name, entry)
    data = fields["data"].replace(trace, f"00-{'1' * 32}-{'2' * 16}")
    await redis.xadd(worker.keys.name, {"data": data})
    async with working(worker):
        with pytest.raises(UntrustedTaskError):
            await sent.result(timeout=10)
    assert ran == []
    assert [one["reason"] for one in await letters_of(redis, worker)] == ["untrusted"]
    assert spans.named("process work") == []
