"""Processes for suspects: the product's, but for what the operating system does."""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.simulation.kernel import Process, current_thread
from tests.simulation.network import latency

from kiqstart.broker.quarantine.ward_orders import WardOrders
from kiqstart.broker.quarantine.ward_process import WardEnd
from kiqstart.worker.runner import shut_down
from kiqstart.worker.ward import _SECONDS_TO_SHUT_DOWN, Parent, Ward

if TYPE_CHECKING:
    from tests.simulation.product import SimulatedBroker

_SECONDS_BETWEEN_LOOKS: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Orders(WardOrders):
    """What a ward is told.

    Args:
        start: starts it, for the process that asks for it; raises `OSError` where the system has no room for it.
    """

    start: "Callable[[Orders, Process], WardChild]"


class _Parent(Parent):
    """The worker that has started a ward, as the ward sees it."""

    def __init__(self, host: Process, process: Process) -> None:
        self._host = host
        self._process = process
        self.name: str | None = None
        self.is_announced = False
        self.loss = 0
        self.is_closed = False

    def tell_name(self, worker: str) -> None:
        """The worker reads it when this process has ended."""
        self.name = worker

    def tell_loss(self, loss: int) -> None:
        """The worker reads it when this process has ended."""
        self.loss = loss

    def say_bye(self) -> None:
        """The worker reads it when this process has ended."""
        self.is_announced = True

    def wait_for_end(self) -> None:
        """Block until it has died, or closes the connection."""
        thread, process = current_thread(), self._process
        while not (self._host.is_dead or self.is_closed):
            process.kernel.after(_SECONDS_BETWEEN_LOOKS, lambda: process.do(thread.resume))
            thread.block()


class WardChild:
    """Stands in for the product's `WardProcess`: the ward as its worker sees it.

    Args:
        host: the worker's process.
        process: the ward's.
        seconds: until its interpreter has started.
    """

    pid: Final = 1

    def __init__(
        self, host: Process, process: Process, broker: "SimulatedBroker", orders: Orders, *, seconds: float
    ) -> None:
        self.host: Final = host
        self.process: Final = process
        self.end: asyncio.Future[WardEnd] = host.loop.create_future()
        self._broker = broker
        self._orders = orders
        self._parent = _Parent(host, process)
        self._ward = Ward(self._parent)
        process.on_exit = lambda: self.is_killed(0)
        process.on_signal.append(self._on_signal)
        process.kernel.after(seconds, lambda: process.do(self._begin))

    @property
    def has_begun(self) -> bool:
        """Whether it takes suspects by now."""
        return self._parent.name is not None

    def ask_to_end(self) -> None:
        """SIGTERM."""
        self.process.signal()

    def end_at_once(self) -> None:
        """Close the connection."""
        self._parent.is_closed = self.process.was_asked_to_end = True

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kernel.after(0.0, lambda: self.is_killed(-signal.SIGKILL))

    def is_killed(self, code: int) -> None:
        """It ends in the middle of whatever it does. Only the kernel's events may do this."""
        if not self.process.is_dead:
            self.process.kill()
        told = self._parent
        end = WardEnd(code=code, complaint="", worker=told.name, is_announced=told.is_announced, loss=told.loss)
        after = latency(self.host.random)
        self.host.kernel.after(after, lambda: self.host.do(lambda: self._tell(end)))

    def _tell(self, end: WardEnd) -> None:
        if not self.end.done():
            self.end.set_result(end)

    def _on_signal(self) -> None:
        try:
            self._ward._on_signal(signal.SIGTERM, None)
        except SystemExit:
            self.process.exit()

    def _begin(self) -> None:
        self.process.start_thread(self._ward._end_with_parent)
        self.process.loop.create_task(self._serve())

    async def _serve(self) -> None:
        code = 0
        try:
            await self._ward._serve(self._broker, self._orders)
        except Exception:  # noqa: BLE001  # Python prints it, and the process ends with 1
            code = 1
        await shut_down(self._broker, _SECONDS_TO_SHUT_DOWN)
        self.process.kernel.after(0.0, lambda: self.is_killed(code))
