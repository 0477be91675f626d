"""What a worker says of processes for suspects that have died, when it knows that Redis has no older data."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from kiqstart.broker.in_flight import InFlightDeliveries
from kiqstart.broker.lease import Lease
from kiqstart.broker.reclaimer import Reclaimer
from kiqstart.broker.registrar import Registrar


class Testimonies:
    """Testimonies that wait for this worker's next beat.

    Args:
        on_loss: is told in the lease's thread which data Redis had lost, once it is right again in Redis what this
            worker has.

    Attributes:
        loss: the last one, by the time at which Redis had it noted (note_older_data.lua); 0 for none.
    """

    def __init__(
        self,
        reclaimer: Reclaimer,
        registrar: Registrar,
        lease: Lease,
        queues: list[str],
        *,
        in_flight: InFlightDeliveries,
        on_loss: Callable[[int], None],
    ) -> None:
        self._reclaimer = reclaimer
        self._registrar = registrar
        self._lease = lease
        self._queues = queues
        self._in_flight = in_flight
        self._on_loss = on_loss
        self._is_told = True
        self._from_before = in_flight.all()
        self._waiting: deque[tuple[str, int, Future[bool]]] = deque()
        self.loss = 0

    def note_loss(self, loss: int) -> None:
        """Redis had lost data, or come back with older ones, and this worker has given back what it does not run."""
        self.loss, self._is_told = loss, False
        # It goes on with these, of which Redis may know nothing.
        self._from_before = self._in_flight.all()

    def add(self, worker: str, loss: int) -> "Future[bool]":
        """Let a testimony wait; gives whether a task is condemned by it.

        Args:
            worker: the process that has died.
            loss: the last one that it had seen to, or this worker had before it began. If this worker has seen to
                another one, it is not certain what that process had.
        """
        answer: Future[bool] = Future()
        self._waiting.append((worker, loss, answer))
        return answer

    def give(self) -> None:
        """Give all that wait, right after a beat."""
        self._tell_loss()
        while self._waiting:
            worker, loss, answer = self._waiting.popleft()
            if not answer.set_running_or_notify_cancel():
                continue
            beat = self._registrar.last_beat if loss == self.loss else None
            try:
                condemned = self._reclaimer.testify(worker, self._queues, witness=self._lease.worker, beat=beat)
            except Exception as error:  # noqa: BLE001  # handed to whoever waits
                answer.set_exception(error)
            else:
                answer.set_result(condemned)

    def _tell_loss(self) -> None:
        if self._is_told or not all(one.is_settled or one.is_lost for one in self._from_before):
            return
        self._is_told, self._from_before = True, []
        self._on_loss(self.loss)
