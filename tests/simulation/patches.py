"""What the product asks of its machine, answered by the simulation while a history runs."""

import gc
import logging
import warnings
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Final

from tests.simulation.kernel import Kernel
from tests.simulation.product import SimulatedBroker
from tests.simulation.server import last_words_unheard
from tests.simulation.stand_ins import (
    KERNELS,
    Logger,
    Os,
    Random,
    SignalSafeEvent,
    SimpleQueue,
    Socket,
    Threading,
    Time,
    Uuid,
    on_shutdown_signals,
    running_process,
)
from tests.simulation.ward import Orders, WardChild

from kiqstart import clock
from kiqstart.broker import (
    cancellation,
    dispatcher,
    heartbeat,
    lease,
    registrar,
    run_record,
    sender,
    stats_batch,
)
from kiqstart.broker import fetcher as fetching
from kiqstart.broker import redis_retry as outage
from kiqstart.broker.quarantine import quarantine, ward_orders
from kiqstart.broker.receiver import base, receiver_shutdown
from kiqstart.broker.script import ScriptClock
from kiqstart.processes import shutdown_watchdog
from kiqstart.scheduler import redis_reader, schedules
from kiqstart.tasks import hooks, kicker
from kiqstart.worker import ward

# What every script gets as its time; the network puts Redis' time in its place.
_PLACEHOLDER: Final = "now"


def _orders_for(broker: SimulatedBroker) -> Orders | None:
    """No module holds a simulated broker."""
    return broker.orders() if broker.orders is not None else None


def _start_ward(orders: Orders) -> WardChild:
    return orders.start(orders, running_process())


@contextmanager
def simulated(kernel: Kernel) -> Generator[None]:
    """Let the product live in a kernel's time for the `with` block, and say nothing."""
    KERNELS.append(kernel)
    names, time = Uuid(kernel), Time(kernel)
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with ExitStack() as stack:
        # What a killed process had begun is never awaited. Much of it is found when there is time for that
        # (`forget_the_killed`).
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", RuntimeWarning)
        stack.enter_context(last_words_unheard())
        if gc.isenabled():
            gc.disable()
            stack.callback(gc.enable)
        stack.callback(logging.disable, level)
        stack.callback(KERNELS.pop)
        for module, name, value in (
            (clock, "time", time),
            (dispatcher, "time", time),
            (base, "time", time.time),
            (hooks, "monotonic", time.monotonic),
            (ward, "time", time),
            (ward, "threading", Threading),
            (ward, "os", Os),
            (outage, "random", Random(kernel)),
            (fetching, "random", Random(kernel)),
            (lease, "uuid", names),
            (sender, "uuid", names),
            (kicker, "uuid", names),
            (registrar, "uuid4", names.uuid4),
            (cancellation, "uuid4", names.uuid4),
            (stats_batch, "uuid4", names.uuid4),
            (redis_reader, "uuid", names),
            (schedules, "uuid4", names.uuid4),
            (registrar, "os", Os),
            (registrar, "socket", Socket),
            (run_record, "os", Os),
            (run_record, "socket", Socket),
            (heartbeat, "threading", Threading),
            (heartbeat, "SignalSafeEvent", SignalSafeEvent),
            (receiver_shutdown, "on_shutdown_signals", on_shutdown_signals),
            (shutdown_watchdog, "threading", Threading),
            (shutdown_watchdog, "SimpleQueue", SimpleQueue),
            (shutdown_watchdog, "os", Os),
            (quarantine, "on_shutdown_signals", on_shutdown_signals),
            (heartbeat, "logger", Logger(kernel)),
            (quarantine, "logger", Logger(kernel)),
            (quarantine, "WardProcess", _start_ward),
            (quarantine, "has_room_for_another", lambda: True),
            (ward_orders, "orders_for", _orders_for),
            (ScriptClock, "now", _PLACEHOLDER),
        ):
            # `unittest.mock.patch` does the same in ten times the time.
            stack.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, value)
        yield
