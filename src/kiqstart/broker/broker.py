"""The Redis Streams broker."""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from logging import getLogger
from types import MappingProxyType
from typing import Any, Final, Self

import taskiq.receiver
from taskiq import (
    AckableMessage,
    AsyncBroker,
    AsyncResultBackend,
    AsyncTaskiqDecoratedTask,
    BrokerMessage,
    SimpleRetryMiddleware,
    SmartRetryMiddleware,
    TaskiqMessage,
)
from taskiq.abc.formatter import TaskiqFormatter

from kiqstart.broker.broker_arguments import BrokerArguments
from kiqstart.broker.cancellation import Canceller, CancelOutcome
from kiqstart.broker.consumer import StreamConsumer
from kiqstart.broker.dead_letters import DeadLetters
from kiqstart.broker.delivery import DeadLetterReason, Delivery
from kiqstart.broker.dispatcher import Dispatcher
from kiqstart.broker.fetcher import SuspectRule
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.known_queues import served_queues
from kiqstart.broker.loop_resources import LoopResources
from kiqstart.broker.middleware import DeliveryMiddleware
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.ping import PING, ping
from kiqstart.broker.receiver.preflight import Preflight
from kiqstart.broker.redis_retry import reason
from kiqstart.broker.results import StreamResultBackend
from kiqstart.broker.retrying_result_backend import RetryingResultBackend
from kiqstart.broker.run_resender import RunResender
from kiqstart.broker.sender import SendFailedError
from kiqstart.broker.sent_stats import SentStats
from kiqstart.broker.worker_side import WorkerSide, failed
from kiqstart.processes.forks import tell_of_forks
from kiqstart.redis.connections import InvalidRedisUrlError, RedisConnections
from kiqstart.redis.loop_local import InheritedLoopError, LoopLocal
from kiqstart.tasks.caller_types import text
from kiqstart.tasks.errors import WiringError
from kiqstart.tasks.formatting import JsonFormatter, Outgoing
from kiqstart.tasks.hooks import need
from kiqstart.tasks.labels import DEFAULT_QUEUE
from kiqstart.tasks.messages import beginning_of
from kiqstart.tasks.results.errors import TaskCancelledError
from kiqstart.tasks.sealing.formatting import SealedFormatter
from kiqstart.tasks.sealing.sealing import Sealing, SealingParts
from kiqstart.tasks.sealing.secrets import NO_SECRETS
from kiqstart.tasks.task import Task

logger = getLogger(__name__)

_OPTIONS: Final = StreamOptions()
# Arguments of taskiq-redis' broker whose purpose is served otherwise here, or that would lose tasks (`maxlen`).
_REPLACED: Final = frozenset(
    {
        "additional_streams",
        "approximate",
        "consumer_id",
        "consumer_name",
        "idle_timeout",
        "maxlen",
        "mkstream",
        "unacknowledged_batch_size",
        "unacknowledged_lock_timeout",
        "xread_block",
        "xread_count",
    }
)
_CANCELLED_HERE: Final = frozenset({CancelOutcome.DELAYED, CancelOutcome.WAITING})
_ONE_QUEUE: Final[Mapping[str, int]] = MappingProxyType({DEFAULT_QUEUE: 1})


class StreamBroker(AsyncBroker):
    """A broker on Redis Streams that loses no accepted task. The package's docstring describes the protocol.

    It takes the place of taskiq-redis' `RedisStreamBroker`, and names alike what both have. It has a result backend of
    its own. A worker that is started with `taskiq worker` uses kiqstart's receiver, unless another one is named.

    Args:
        url: where Redis is: redis://, rediss://, unix://, sentinel:// or cluster://.
        queue_name: key of the stream of the default queue, and what all other keys begin with.
        queues: the queues that a worker takes, each with its weight; `default` is that of tasks that name none. A task
            names its queue by the label `queue_name`.
        consumer_group_name: the group that all workers share.
        options: how it delivers.
        sealing: the keys with which messages are signed, and arguments and results encrypted; None: neither.
        result_ttl: seconds for which results are kept; None for ever.
        result_prefix: what the keys of results begin with.
        connect_timeout: seconds to wait for a connection.
        max_connection_pool_size: most connections of an event loop.
        connection_options: further arguments of redis-py's connections.

    Raises:
        InvalidRedisUrlError: the URL is none of a Redis.
        WiringError: a queue without a name that Redis can have, or with a weight below 1; an argument that only
            taskiq-redis' own broker has, or of a wrong type; or names whose keys a cluster would put on several nodes.
    """

    def __init__(
        self,
        url: str,
        queue_name: str = "taskiq",
        *,
        queues: Mapping[str, int] = _ONE_QUEUE,
        consumer_group_name: str = "taskiq",
        options: StreamOptions = _OPTIONS,
        sealing: Sealing | None = None,
        result_ttl: float | None = 3600.0,
        result_prefix: str | None = None,
        connect_timeout: float = 5.0,
        max_connection_pool_size: int = 100,
        **connection_options: object,
    ) -> None:
        if refused := sorted(_REPLACED & set(connection_options)):
            raise WiringError(f"StreamBroker has no argument {refused[0]!r}: see StreamOptions for what it has instead")
        super().__init__()
        BrokerArguments(
            queue_name=queue_name,
            queues=queues,
            consumer_group_name=consumer_group_name,
            options=options,
            sealing=sealing,
            result_prefix=result_prefix,
            connect_timeout=connect_timeout,
            max_connection_pool_size=max_connection_pool_size,
        )
        self.queue_name = queue_name
        self.consumer_group_name = consumer_group_name
        self.options = options
        try:
            self.connections = RedisConnections(
                url, connect_timeout=connect_timeout, max_connections=max_connection_pool_size, **connection_options
            )
        except InvalidRedisUrlError as error:
            raise InvalidRedisUrlError(f"the url of the StreamBroker {queue_name!r} {error}") from None
        self.keys = QueueKeys(queue_name, results=result_prefix, database=self.connections.database)
        if self.connections.is_cluster and not self.keys.share_a_slot:
            raise WiringError(
                f"on a cluster all keys of a queue need one hash tag: queue_name={queue_name!r} and "
                f"result_prefix={result_prefix!r} do not have the same {{tag}}"
            )
        self.queues = dict(queues)
        self.sealing = None if sealing is None else SealingParts(sealing, queue_name)
        self.secrets = NO_SECRETS if self.sealing is None else self.sealing.secrets
        self.result_ttl = result_ttl
        sent = SentStats(self.connections, self.keys)
        self._per_loop = LoopLocal(
            lambda: LoopResources(self.connections, self.keys, self.options, sent), LoopResources.close
        )
        self.worker = WorkerSide(self)
        self._dispatcher = Dispatcher(
            lambda: self.connection, self.keys, options, delivery_of=self.worker.delivery_of, secrets=self.secrets
        )
        tell_of_forks(self)
        self._is_worker = False
        self._keeps_promises = False
        # What this process' receiver was told that a process for suspects has to know.
        self.receiver_options: Mapping[str, Any] = {}
        # How many tasks its receiver runs at once; 0 where there is none.
        self.slots = 0
        self.made_by: str | None = None
        self.decorator_class = Task
        self.formatter = self._own_formatter()
        self.id_generator = _random_id
        self.middlewares.append(DeliveryMiddleware(self))
        self.middlewares[0].set_broker(self)
        self.result_backend: AsyncResultBackend[Any] = self._own_result_backend()

    @property
    def is_worker_process(self) -> bool:
        """Whether this process runs tasks. taskiq sets it before it looks for its receiver, which is then ours."""
        return self._is_worker

    @is_worker_process.setter
    def is_worker_process(self, value: bool) -> None:
        self._is_worker = value
        if value:
            if self.options.quarantine:
                self.worker.suspect_rule = SuspectRule.NONE
            from kiqstart.broker.receiver.stream_receiver import StreamReceiver

            taskiq.receiver.Receiver = StreamReceiver  # type: ignore[assignment,misc]  # the name that `taskiq worker` imports

    def run_suspects(self, on_registered: Callable[[str], None], on_loss: Callable[[int], None]) -> None:
        """Take suspects only, for the worker that has started this process.

        Args:
            on_registered: is told each name that this process has in Redis, in the lease's thread.
            on_loss: is told there that Redis had lost data, which, and that this process has seen to it.
        """
        self.worker.suspect_rule = SuspectRule.WARD
        self.worker.on_registered, self.worker.on_loss = on_registered, on_loss

    def with_result_backend(self, result_backend: AsyncResultBackend[Any]) -> Self:
        """Keep results elsewhere; there they are stored before the message is acknowledged, not in one step with it."""
        return super().with_result_backend(RetryingResultBackend(result_backend, deadline=self.options.send_deadline))

    def with_formatter(self, formatter: TaskiqFormatter) -> Self:
        """Write messages otherwise.

        Raises:
            WiringError: they are to be sealed, which no other formatter does.
        """
        if self.sealing is not None:
            raise WiringError(f"a broker with sealing has a formatter of its own: drop {type(formatter).__name__}")
        return super().with_formatter(formatter)

    @property
    def connection(self) -> LoopResources:
        """What this event loop has of Redis.

        Raises:
            SendFailedError: this is a forked child in its parent's event loop, which is uvloop's or was running.
        """
        try:
            return self._per_loop.get()
        except InheritedLoopError as error:
            raise SendFailedError(problem=str(error)) from None

    @property
    def dead_letters(self) -> DeadLetters:
        """The messages that will not be run, of all queues, on this event loop's connection."""
        deadline = self.options.send_deadline
        return DeadLetters(self.connection.redis, self.keys, self.formatter, deadline=deadline, secrets=self.secrets)

    @property
    def run_resender(self) -> RunResender:
        """What sends failed runs again, on this event loop's connection."""
        options = self.options
        return RunResender(
            self.connection.redis,
            self.keys,
            self.formatter,
            deadline=options.send_deadline,
            marks_age=options.failed_runs_age,
        )

    def keep_promises(self) -> None:
        """Do what the options of `register_task` say, also where nobody has added the middlewares for that."""
        from kiqstart.broker.retries import RetryMiddleware
        from kiqstart.tasks.arguments import ArgumentsMiddleware
        from kiqstart.tasks.uniqueness import UniquenessMiddleware

        if self._keeps_promises:
            return
        self._keeps_promises = True
        need(
            self,
            {
                (ArgumentsMiddleware,): ArgumentsMiddleware(every_task=False),
                (UniquenessMiddleware,): UniquenessMiddleware(),
                (RetryMiddleware, SimpleRetryMiddleware, SmartRetryMiddleware): RetryMiddleware(self),
            },
        )

    async def shutdown(self) -> None:
        """Give back what a worker still has, and let all connections go."""
        await self.worker.stop()
        await super().shutdown()
        connection = self._per_loop.peek()
        if connection is not None:
            await connection.sender.drain()
        await self._per_loop.close()

    def after_fork(self) -> None:
        """In a child: what the parent has in hand as a worker is the parent's to give back."""
        self.worker.after_fork()

    async def kick(self, message: BrokerMessage) -> None:
        """Send a message, once, through an outage of up to `send_deadline` seconds.

        The labels `delay` (seconds) and `due` (seconds since the Unix epoch) let it wait in Redis; `queue_name` names
        its queue. Of one `unique` key, a single task waits or runs at a time: another one is not sent, and the kicker
        is told whose key it is. A task that sends itself anew (a retry) goes on in the step that ends its delivery.

        Raises:
            SendFailedError: it was not sent.
        """
        await self._dispatcher.send(message)

    def kick_many(self, messages: Sequence[Outgoing]) -> Awaitable[Sequence[str | BaseException]]:
        """Send messages in one step; for each, its task's id, or that of the task with its unique key, or an error.

        Raises:
            SendFailedError: a label that says when it is due is no number; nothing was sent.
        """
        return self._dispatcher.send_many(messages)

    async def retry(self, message: BrokerMessage, delay: float, *, is_first: bool = False) -> None:
        """Let a task that runs here run again after `delay` seconds, in the step that ends its delivery."""
        await self._dispatcher.retry(message, delay, is_first=is_first)

    async def bury(self, message: BrokerMessage, reason: DeadLetterReason, detail: str) -> None:
        """Make the message of a task that runs here a dead letter, if possible in the step that ends its delivery."""
        await self._dispatcher.bury(message, reason, detail)

    async def cancel(self, task_id: str) -> CancelOutcome:
        """Cancel a task wherever it is, and say where it was.

        A delayed or waiting one is gone at once. A running one is cancelled within a second or so: its coroutine gets a
        `CancelledError`; a function in a thread runs on, but its result is dropped. What is cancelled is not tried
        again. The caller of a cancelled task gets `TaskCancelledError` as its error. One that has ended is left alone.

        Raises:
            TypeError: the id is no text.
            InvalidTaskIdError: no task can have it.
            UnansweredError: Redis does not answer any more; the text says whether the task is cancelled.
            RedisError: Redis is away, and nothing was done.
        """
        text(task_id, "cancel(…)", "a task's id")
        canceller = Canceller(
            self.connection.redis,
            self.keys,
            group=self.consumer_group_name,
            options=self.options,
            task_id_of=self.task_id_of,
            result_ttl=self.result_ttl,
        )
        outcome = await canceller.cancel(task_id, self.queues)
        if outcome in _CANCELLED_HERE and not isinstance(self.result_backend, StreamResultBackend):
            await self._tell_cancelled(task_id)
        return outcome

    def find_task(self, task_name: str) -> AsyncTaskiqDecoratedTask[..., Any] | None:
        """The task of a name; beside those that are registered, every worker has `ping`."""
        return (
            self.local_task_registry.get(task_name)
            or super().find_task(task_name)
            or (self.ping if task_name == PING else None)
        )

    @property
    def ping(self) -> Task[[], Coroutine[Any, Any, str]]:
        """A task that every worker has."""
        return Task(self, PING, ping, {})

    async def is_served(self, queue: str) -> bool:
        """Whether a worker that lives takes a queue.

        Raises:
            RedisError: Redis is away.
        """
        return queue in await served_queues(self.connection.redis, self.keys, lease=self.options.lease)

    async def may_run(self, task_id: str) -> bool:
        """Wait until this worker's lease is certain; False where the task is another worker's by then."""
        return await self.worker.may_run(task_id)

    async def consume(self) -> StreamConsumer:
        """Register this process as a worker, and give what a receiver needs.

        Raises:
            WiringError: the queue belongs to another group or a newer version, or one of its keys is something else.
            MissingRightsError: the user of Redis lacks rights.
            RedisError: Redis is away.
        """
        return await self.worker.consume()

    async def end_quarantine(self, seconds: float) -> None:
        """Let the process for suspects end with its tasks, for up to so many seconds; then `shutdown` ends it."""
        await self.worker.end_quarantine(seconds)

    def preflight(self, consumer: StreamConsumer) -> Preflight:
        """What sorts out deliveries that are not to be run."""
        return Preflight(self, consumer, self.options)

    async def listen(self) -> AsyncGenerator[AckableMessage, None]:
        """Hand out messages one by one, for a receiver that is not kiqstart's."""
        consumer = await self.consume()
        preflight = self.preflight(consumer)
        waiting: list[Delivery] = []
        try:
            while True:
                waiting += await consumer.fetch(1)
                while waiting:
                    delivery = waiting.pop(0)
                    if await preflight.accept(delivery) is None or not await consumer.may_run(delivery):
                        continue
                    if consumer.in_flight.begin(delivery):
                        yield AckableMessage(data=delivery.data, ack=partial(consumer.settle, delivery))
        finally:
            await consumer.give_back(waiting)

    def task_id_of(self, data: bytes) -> str | None:
        """The task of a message, whoever has made it, also of one that cannot be read but for its front; else None."""
        formatter = self.formatter
        message = None
        try:
            message = formatter.envelope(data) if isinstance(formatter, JsonFormatter) else self.read_message(data)
        except Exception:  # noqa: BLE001  # as below
            logger.debug("A message cannot be read")
        message = message or beginning_of(data)
        return None if message is None else message.task_id

    def read_message(self, data: bytes) -> TaskiqMessage | None:
        """A message; None where it is none, or not sealed as it has to be."""
        try:
            return self.formatter.loads(data)
        except Exception:  # noqa: BLE001  # whatever a serializer raises; nobody waits for what is no task
            return None

    def _own_formatter(self) -> TaskiqFormatter:
        limit = self.options.message_bytes
        if self.sealing is None:
            return JsonFormatter(self, limit=limit)
        return SealedFormatter(self, self.sealing, limit=limit)

    def _own_result_backend(self) -> StreamResultBackend[Any]:
        return StreamResultBackend(
            connection=lambda: self.connection.redis,
            deliveries=self.worker.delivery_of_result,
            waiting=lambda: self.connection.waiter,
            reads=lambda: self.connection.reads,
            keys=self.keys,
            ttl=self.result_ttl,
            deadline=self.options.send_deadline,
            limit=self.options.result_bytes,
            secrets=self.secrets,
        )

    async def _tell_cancelled(self, task_id: str) -> None:
        try:
            await self.result_backend.set_result(task_id, failed(TaskCancelledError(task_id)))
        except Exception as error:  # noqa: BLE001  # whatever another backend raises; the task is cancelled
            logger.error("Task %s is cancelled, and its caller cannot be told: %s", task_id, reason(error))  # noqa: TRY400  # one line


def _random_id() -> str:
    # As random as a UUID, and quicker than Python makes one.
    return os.urandom(16).hex()
