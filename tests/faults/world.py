"""What a scenario has to play with: a Redis, workers, a sender, and the records of what happened."""

import asyncio
import random
import shutil
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.faults.brokers import build_broker
from tests.faults.callers import Callers
from tests.faults.checker import Checker
from tests.faults.fault import Fault, Faults
from tests.faults.guardian import Guardian
from tests.faults.jobs import Edition, Jobs
from tests.faults.look import Looker
from tests.faults.producer import Producer
from tests.faults.programs import ReceiverKind, WorkerCommand
from tests.faults.recorder import Mark, Recorder
from tests.faults.records import Records, task_of
from tests.faults.redis_server import Leftovers, PrivateRedis
from tests.faults.settings import WorkerSettings
from tests.faults.traffic import Traffic
from tests.faults.workers import WorkerGroup

from kiqstart.broker.broker import StreamBroker
from kiqstart.testing import ProcessFactory, eventually
from kiqstart.testing.processes import taskiq_command

SECONDS_TO_DRAIN: Final = 20.0
# A task may have ended just before its worker was killed, and is then found and run once more.
SECONDS_TO_TIDY: Final = 15.0
# A caller whose announcement was lost looks itself, at least so often; and some more for a machine that is busy.
SECONDS_TO_HEAR: Final = 45.0
_LONGEST_LEASE_FOR_DELAYS: Final = 10.0
DEFAULT_RESULT_TTL: Final = 600.0
QUEUE: Final = "faults"
HISTORY: Final = "history.jsonl"
_SECONDS_TO_CLOSE: Final = 10.0


@dataclass(kw_only=True)
class World:
    """All that a scenario uses. Times are in seconds.

    Args:
        folder: where logs and records are kept.
        receiver: what the workers run.
        command: what starts them.
        lease: the broker's, for all workers and senders.
        max_deliveries: the broker's.
        misfit_grace: the broker's.
        result_ttl: the broker's; shorter than the scenario, and what became of tasks is not looked at in the end.
        long: whether there is time for long versions.
    """

    folder: Path
    guardian: Guardian
    receiver: ReceiverKind
    command: WorkerCommand = WorkerCommand.TASKIQ
    lease: float = 5.0
    max_deliveries: int = 3
    misfit_grace: float = 60.0
    result_ttl: float = 600.0
    long: bool = False
    problems: list[str] = field(default_factory=list)
    may_vanish: set[str] = field(default_factory=set)
    """Accepted tasks that nobody is to wait for: they kill their worker."""
    groups: list[WorkerGroup] = field(default_factory=list)
    producers: list[Producer] = field(default_factory=list)
    callers: list[Callers] = field(default_factory=list)

    _is_finished: bool = False
    _brokers: list[StreamBroker] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Prepare the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.recorder = Recorder(self.folder / HISTORY)
        self.records = Records(file=self.recorder.file)
        self.faults = Faults(write=self.recorder.write)
        self.redis = PrivateRedis(self.folder / "redis", self.guardian, self.faults)

    def begin(self, scenario: str) -> None:
        """Begin the history."""
        self.recorder.write(Mark.SCENARIO, scenario, lease=self.lease, receiver=self.receiver)

    async def workers(
        self,
        *,
        processes: int = 1,
        grace: float = 5.0,
        prefetch: int = 0,
        url: str | None = None,
        receiver: ReceiverKind | None = None,
        edition: Edition = Edition.NEW,
        wait: bool = True,
    ) -> WorkerGroup:
        """Start a group of workers that run 20 tasks at once, and wait until it is up.

        Args:
            processes: how many there are.
            grace: seconds for tasks that run when they are asked to end.
            prefetch: how many tasks each reads ahead.
            url: how they reach Redis; None: without a detour.
            receiver: what they run; None: that of this world.
            edition: which version of the program they are.
            wait: whether to wait.
        """
        receiver = receiver or self.receiver
        arguments = ["--receiver", "taskiq.receiver.receiver:Receiver"] if receiver is ReceiverKind.TASKIQ else []
        command = [*self.command.line(), "--wait-tasks-timeout", f"{grace:g}"]
        load = ["--max-async-tasks", "20", "--max-prefetch", str(prefetch)]
        command += ["--workers", str(processes), *load, *arguments]
        group = self._start(command, self._settings(url, edition), grace=grace)
        if wait:
            await group.wait_until_ready(processes)
        return group

    async def scheduler(self) -> WorkerGroup:
        """Start a scheduler, and wait until it is up."""
        command = taskiq_command("scheduler", "tests.faults.scheduler_app:scheduler")
        group = self._start(command, self._settings(None))
        await group.wait_for_log("Startup completed")
        return group

    async def old_worker(self) -> WorkerGroup:
        """Start a worker of the version before, and wait until it is up. It is only ever killed or frozen."""
        group = self._start([sys.executable, "-m", "tests.faults.old_worker"], self._settings(None))
        await group.wait_until_ready(1)
        return group

    async def take_over(self, *faults: Fault) -> WorkerGroup:
        """Start workers for what those faults have left to nobody."""
        group = await self.workers()
        for fault in faults:
            self.faults.relieve(fault)
        return group

    async def producer(self, *, url: str | None = None, started: bool = True) -> Producer:
        """Make a sender; `started` says whether it calls `startup()`, as it should."""
        producer = Producer(build_broker(self._settings(url)), self.recorder)
        if started:
            await producer.broker.startup()
        self.producers.append(producer)
        self._brokers.append(producer.broker)
        return producer

    @asynccontextmanager
    async def traffic(
        self, rate: float, *, seed: object = 0, has_news: bool = False, url: str | None = None
    ) -> AsyncGenerator[None]:
        """Make so many calls of all kinds a second within the `async with` block, perhaps by a detour to Redis."""
        broker = build_broker(self._settings(url))
        callers = Callers(broker, Jobs.register(broker, self.recorder, Edition.NEW), self.recorder)
        await broker.startup()
        self.callers.append(callers)
        self._brokers.append(broker)
        traffic = Traffic(
            callers,
            rate=rate,
            dice=random.Random(str(seed)),  # noqa: S311  # no secret
            has_news=has_news,
            # What is due begins up to a fifth of the lease late.
            may_wait=self.lease <= _LONGEST_LEASE_FOR_DELAYS,
        )
        async with traffic.flowing():
            yield

    async def finish(self, within: float = SECONDS_TO_DRAIN, tidy_within: float = SECONDS_TO_TIDY) -> None:
        """Wait until all is done and told, and record what is left."""
        if not self._is_finished:
            self._is_finished = True
            if await self.drain(within):
                await self.hear_all()
            await self.look(tidy_within)

    async def hear_all(self) -> None:
        """Wait until all callers know what became of their tasks."""
        await asyncio.gather(*(callers.flush(SECONDS_TO_HEAR) for callers in self.callers))

    async def look(self, within: float) -> None:
        """Record what Redis has, once nothing is left of what has ended, or so many seconds have passed."""
        self.records.refresh()
        tasks = sorted({task_of(name) for name in self.records.sendings})
        # Where results expire earlier, that says nothing.
        is_kept = self.result_ttl >= DEFAULT_RESULT_TTL
        async with self.redis.client() as redis:
            looker = Looker(redis, QUEUE)
            await looker.wait_until_tidy(within)
            self.recorder.write(Mark.LOOKED, "", **await looker.look(tasks if is_kept else None))
        self.records.refresh()

    def expect(self, condition: bool, problem: str) -> None:
        """Note a problem if the condition does not hold."""
        if not condition:
            self.problems.append(problem)

    def checker(self) -> Checker:
        """Judge what is recorded so far."""
        self.records.refresh()
        return Checker(self.records, lease=self.lease)

    async def drain(self, within: float = SECONDS_TO_DRAIN) -> bool:
        """Wait until all accepted tasks have ended, and nothing runs any more; False says that they did not in time."""

        async def is_drained() -> bool:
            self.records.refresh()
            # What a thawed worker has ended may still run elsewhere.
            return not self.records.waiting - self.may_vanish and not any(group.running() for group in self.groups)

        try:
            await eventually(is_drained, within=within)
        except TimeoutError:
            return False
        return True

    async def wait_until_run(self, names: Sequence[str], within: float = SECONDS_TO_DRAIN) -> None:
        """Wait until all of these tasks run at once."""

        async def are_running() -> bool:
            running = {name for group in self.groups for name in group.running()}
            return running.issuperset(names)

        await eventually(are_running, within=within)

    async def leftovers(self, within: float = SECONDS_TO_TIDY) -> Leftovers:
        """What is in the queue's streams; nothing, or what is still there after so many seconds."""
        async with asyncio.timeout(within + 5.0):
            deadline = asyncio.get_running_loop().time() + within
            while True:
                left = await self.redis.leftovers(QUEUE)
                if not left.entries + left.pending or asyncio.get_running_loop().time() > deadline:
                    return left
                await asyncio.sleep(0.1)

    async def close(self) -> None:
        """End all workers and senders."""
        for group in self.groups:
            group.discard()
        brokers, self._brokers = self._brokers, []
        async with asyncio.timeout(_SECONDS_TO_CLOSE):
            for broker in brokers:
                await broker.shutdown()

    def logs(self) -> dict[int, str]:
        """The workers' logs, by the pids of their process managers."""
        return {group.pid: group.log for group in self.groups}

    def _start(self, command: list[str], settings: WorkerSettings, *, grace: float = 0.0) -> WorkerGroup:
        factory = ProcessFactory(command=command, environment=settings.environment(), ready="", log_folder=self.folder)
        group = WorkerGroup(
            factory.start(), records=self.records, faults=self.faults, guardian=self.guardian, grace=grace
        )
        self.groups.append(group)
        return group

    def _settings(self, url: str | None, edition: Edition = Edition.NEW) -> WorkerSettings:
        return WorkerSettings(
            redis_url=url or self.redis.url,
            queue=QUEUE,
            records=self.recorder.file,
            lease=self.lease,
            max_deliveries=self.max_deliveries,
            misfit_grace=self.misfit_grace,
            result_ttl=self.result_ttl,
            edition=edition,
        )


@asynccontextmanager
async def running_world(world: World) -> AsyncGenerator[World]:
    """Start the world's Redis, and at the end leave nothing of the world but its files."""
    await world.redis.start()
    try:
        yield world
    finally:
        try:
            await world.close()
        finally:
            world.redis.discard()
            world.recorder.close()
