"""The version before, in a simulated process."""

import json
from collections.abc import Callable

from taskiq import TaskiqResult
from tests.invariants.facts import Run
from tests.invariants.model import Model
from tests.simulation.clients import BlockingClient
from tests.simulation.kernel import Process, current_thread
from tests.simulation.network import Network
from tests.simulation.version_n.worker import Claim

from kiqstart.broker.results import encode_failure, encode_result

_FOR_EVER = 3600.0


class JobError(Exception):
    """What a task raises; its argument names the run."""


class SimulatedHost:
    """A machine of the simulation."""

    def __init__(self, network: Network, process: Process) -> None:
        self._network = network
        self._process = process
        self.name = process.name

    def now(self) -> str:
        """The network puts Redis' time in its place."""
        return "now"

    def local_time(self) -> float:
        """By its own clock."""
        return self._process.local_time()

    def sleep(self, seconds: float) -> None:
        """Block this thread, in virtual time."""
        thread, process = current_thread(), self._process
        process.kernel.after(seconds, lambda: process.do(thread.resume))
        thread.block()

    def client(self, timeout: float) -> BlockingClient:
        """A connection of the simulated network."""
        return BlockingClient(self._network, self._process, timeout=timeout)

    def start_thread(self, target: Callable[[], object]) -> None:
        """Start a thread of the simulated process."""
        self._process.start_thread(target)


class SimulatedProgram:
    """Runs what the model says that a message does.

    Args:
        on_kill: a task has taken this process down.
    """

    def __init__(
        self, model: Model, process: Process, sleep: Callable[[float], None], on_kill: Callable[[], None]
    ) -> None:
        self._model = model
        self._process = process
        self._sleep = sleep
        self._on_kill = on_kill
        self._running: tuple[int, Run] | None = None

    def cut(self) -> None:
        """Cut off what runs."""
        if self._running is not None:
            uid, run = self._running
            self._running = None
            self._model.end(uid, run, "cut", is_final=False)

    def __call__(self, data: bytes, claim: Claim) -> bytes | None:
        """Run a message."""
        message = json.loads(data)
        if not message["args"]:
            self._model.occurrences.run(message["task_id"])
            return _encode("ok", "")
        if not claim.may_begin():
            return None
        uid: int = message["args"][0]
        run = self._model.begin(uid, self._process)
        behaviour = self._model.sent[uid].behaviour
        self._running = (uid, run)
        self._sleep(behaviour.seconds)
        if run.end:
            # Cut off.
            return None
        self._running = None
        how = behaviour.ends[min(run.number, len(behaviour.ends) - 1)]
        if not claim.is_held():
            # Another worker has it by now, and what it did here is dropped.
            self._model.end(uid, run, "cut", is_final=False)
            return None
        if how == "kill":
            self._on_kill()
            self._sleep(_FOR_EVER)
        # What it cannot do here is to send an error again: it ends with the first.
        self._model.end(uid, run, how, is_final=True)
        return _encode(how, f"{uid}.{run.number}")


def _encode(how: str, detail: str) -> bytes:
    if how == "ok":
        return encode_result(detail, TaskiqResult(is_err=False, return_value=detail, execution_time=0.0))
    return encode_failure(JobError(detail))
