"""One worker, in this process."""

import asyncio
import gc
import logging
import multiprocessing
import os
import socket
import sys
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext

import uvloop
from taskiq import AcknowledgeType, AsyncBroker
from taskiq.receiver.receiver import Receiver

from kiqstart.errors import OperatorError
from kiqstart.observability.log_formatter import configure_plain_logging
from kiqstart.processes.ending import Ending
from kiqstart.worker.loading import extend_path, load_broker, make_receiver
from kiqstart.worker.options import WorkerOptions

logger = logging.getLogger(__name__)


class NoFiguresError(OperatorError):
    """There is nothing to answer at a port."""


class QueueAwayError(OperatorError):
    """A worker cannot start without Redis, which may be back when it is started anew."""


def serve(options: WorkerOptions, ending: Ending, *, name: str, listener: socket.socket | None = None) -> int:
    """Run a worker in this process, which it takes over with its log; return the exit code.

    Args:
        options: all that the command line says.
        ending: has taken the process' signals.
        name: what its log lines call it.
        listener: where it answers for its figures and its health; None: nowhere.

    Raises:
        OperatorError: the broker cannot be loaded or started.
    """
    multiprocessing.current_process().name = name
    _configure_logging(options)
    extend_path(options)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        broker, found = load_broker(options)
        executor = _executor(options)
        receiver = _receiver(broker, executor, options)
    except BaseException:
        # Of one that is let go open uvloop complains in the log.
        loop.close()
        raise
    # All that was imported stays: never to be looked through again.
    gc.freeze()
    gc.enable()
    try:
        loop.run_until_complete(_listen(receiver, ending, _port(listener, broker, found)))
    except asyncio.CancelledError:
        if ending.cut_by is None:
            raise
    except Exception as error:
        _complain_of_outage(broker, error)
        raise
    finally:
        # A signal in the midst of uvloop's own start leaves a loop that counts as running: nothing has begun then.
        if not loop.is_running():
            logger.info("Shutting down the broker.")
            loop.run_until_complete(shut_down(broker, options.shutdown_timeout))
    if ending.cut_by is not None:
        _leave_at_once(128 + ending.cut_by)
    executor.shutdown(wait=False)
    return 0


async def _listen(receiver: Receiver, ending: Ending, port: AbstractAsyncContextManager[None]) -> None:
    finish = asyncio.Event()
    ending.attach(finish.set)
    async with port:
        await receiver.listen(finish)


def _port(listener: socket.socket | None, broker: AsyncBroker, found: object) -> AbstractAsyncContextManager[None]:
    if listener is None:
        return nullcontext()
    from kiqstart.broker.broker import StreamBroker
    from kiqstart.metrics.duties import TakesTasks
    from kiqstart.metrics.policies import names_of
    from kiqstart.metrics.server import answering

    if not isinstance(broker, StreamBroker):
        raise NoFiguresError(
            f"--port: a {type(broker).__name__} keeps no figures in Redis; leave --port out, or use a StreamBroker"
        )
    return answering(listener, broker, TakesTasks(broker), names_of(getattr(found, "retention", None)))


def _complain_of_outage(broker: AsyncBroker, error: Exception) -> None:
    from redis.exceptions import RedisError

    from kiqstart.broker.broker import StreamBroker
    from kiqstart.broker.redis_retry import may_pass, reason
    from kiqstart.redis.client import RedisUnavailableError, with_remedy

    if isinstance(broker, StreamBroker) and (may_pass(error) or isinstance(error, RedisError)):
        kind = QueueAwayError if may_pass(error) else RedisUnavailableError
        raise kind(f"cannot use Redis at {broker.connections.address}: {with_remedy(reason(error), error)}") from None


async def shut_down(broker: AsyncBroker, timeout: float) -> None:  # noqa: ASYNC109  # the command line's
    """Let the broker end within so many seconds, and go on in any case."""
    try:
        await asyncio.wait_for(broker.shutdown(), timeout)
    except TimeoutError:
        logger.warning("The broker could not shut down within %g s", timeout)
    except Exception:
        logger.exception("The broker failed to shut down")


def _configure_logging(options: WorkerOptions) -> None:
    if options.configure_logging:
        configure_plain_logging(options.log_level, options.log_format)
    logging.getLogger("taskiq").setLevel(options.log_level)


def _executor(options: WorkerOptions) -> Executor:
    if options.use_process_pool:
        return ProcessPoolExecutor(max_workers=options.max_process_pool_processes)
    return ThreadPoolExecutor(max_workers=options.max_threadpool_threads)


def _receiver(broker: AsyncBroker, executor: Executor, options: WorkerOptions) -> Receiver:
    return make_receiver(
        options,
        broker=broker,
        executor=executor,
        validate_params=not options.no_parse,
        max_async_tasks=options.max_async_tasks,
        max_async_tasks_jitter=options.max_async_tasks_jitter,
        max_prefetch=options.max_prefetch,
        propagate_exceptions=not options.no_propagate_errors,
        ack_type=AcknowledgeType(options.ack_type),
        max_tasks_to_execute=options.max_tasks_per_child,
        wait_tasks_timeout=options.wait_tasks_timeout,
    )


def _leave_at_once(code: int) -> None:
    # Python would wait for threads, and leave the processes of a pool behind.
    for process in multiprocessing.active_children():
        process.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
