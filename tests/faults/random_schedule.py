"""The long form: faults by lot, for as long as one likes, under a mixed load."""

import asyncio
import random
import signal
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from tests.faults.fault import Kind
from tests.faults.guardian import Guardian
from tests.faults.load import MixedLoad
from tests.faults.programs import ReceiverKind, WorkerCommand
from tests.faults.proxy import CuttingProxy, Storm, cutting_proxy
from tests.faults.redis_server import Size
from tests.faults.scenario import Outcome, Scenario, judge
from tests.faults.slots import Slot
from tests.faults.world import World, running_world

_RATE: Final = 75.0
_MEAN_SECONDS_BETWEEN_FAULTS: Final = 7.0
_SECONDS_TO_DRAIN: Final = 90.0
_SECONDS_TO_TIDY_UP: Final = 30.0
_ANY_NUMBER: Final = 1_000_000
_KEYS_MORE: Final = 30
RESULT_SECONDS: Final = 30.0
"""For so long results are kept: longer than any caller looks for them, short enough to see that they go."""
_CALLS: Final = 10.0

_Fault = Callable[[], Awaitable[None]]


class RandomSchedule:
    """Draws faults, and does them. Where two hit the same target, one waits for the other.

    Args:
        world: with its Redis running.
        proxy: before that Redis.
        dice: decides everything.
    """

    def __init__(self, world: World, proxy: CuttingProxy, dice: random.Random) -> None:
        self._world = world
        self._proxy = proxy
        self._dice = dice
        self._redis = asyncio.Lock()
        self._log = world.folder / "faults.log"
        ways = [(None, ReceiverKind.OWN), (proxy.url, ReceiverKind.OWN), (None, ReceiverKind.TASKIQ)]
        self.slots = [Slot(world=world, url=url, receiver=receiver, dice=dice) for url, receiver in ways]

    async def play(self, seconds: float) -> None:
        """Do harm for so long, and wait until all is mended."""
        deadline = time.monotonic() + seconds
        async with asyncio.TaskGroup() as faults:
            while time.monotonic() < deadline:
                faults.create_task(self._one())
                await asyncio.sleep(self._dice.uniform(0.5, 1.5) * _MEAN_SECONDS_BETWEEN_FAULTS)

    async def _one(self) -> None:
        slot = self._dice.choice(self.slots)
        faults: dict[_Fault, tuple[asyncio.Lock, float]] = {
            slot.kill_worker: (slot.lock, 4.0),
            slot.kill: (slot.lock, 3.0),
            slot.kill_manager: (slot.lock, 1.0),
            slot.restart: (slot.lock, 2.0),
            slot.deploy: (slot.lock, 4.0),
            slot.freeze: (slot.lock, 4.0),
            self.freeze_redis: (self._redis, 2.0),
            self.restart_redis: (self._redis, 2.0),
            self.cut_all: (self._redis, 3.0),
            self.storm: (asyncio.Lock(), 3.0),
        }
        (fault,) = self._dice.choices(list(faults), [weight for _, weight in faults.values()])
        lock, _ = faults[fault]
        async with lock:
            began = time.monotonic()
            self._write(f"{fault.__name__} of {slot.group.pid}: begins")
            try:
                await fault()
            except Exception:  # noqa: BLE001  # the others go on
                self._world.problems.append(f"{fault.__name__}: {traceback.format_exc()}")
            self._write(f"{fault.__name__}: over after {time.monotonic() - began:.1f} s")

    async def freeze_redis(self) -> None:
        """Let Redis stand still."""
        async with self._world.redis.frozen():
            await asyncio.sleep(self._dice.uniform(0.5, 10.0))

    async def restart_redis(self) -> None:
        """Stop Redis, one way or the other, and start it with its data."""
        number = self._dice.choice([signal.SIGTERM, signal.SIGKILL])
        async with self._world.redis.away(number):
            await asyncio.sleep(self._dice.uniform(0.0, 6.0))

    async def cut_all(self) -> None:
        """Cut all connections, some times in a row."""
        for _ in range(self._dice.randint(1, 8)):
            await self._world.redis.cut_connections()
            await asyncio.sleep(self._dice.uniform(0.0, 0.3))

    async def storm(self) -> None:
        """Let the proxy cut for a while."""
        with self._world.faults.lasting(Kind.CUT, note="proxy"):
            self._proxy.storm = self._dice.choice([Storm(mean_bytes=8000.0), Storm(lost_answers=0.1)])
            await asyncio.sleep(self._dice.uniform(1.0, 6.0))
            self._proxy.storm = None

    def _write(self, line: str) -> None:
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"{time.monotonic():.3f} {line}\n")


async def run_random_schedule(
    folder: Path, guardian: Guardian, *, command: WorkerCommand, minutes: float, seed: int
) -> Outcome:
    """Play for so many minutes, print what came of each kind of fault, and judge."""
    began = time.monotonic()
    scenario = Scenario(name=f"random schedule (seed {seed})", body=_no_body, recovers_within=float("inf"))
    # A killed worker counts against each of its tasks, and here many are killed.
    world = World(
        folder=folder,
        guardian=guardian,
        receiver=ReceiverKind.OWN,
        command=command,
        max_deliveries=_ANY_NUMBER,
        result_ttl=RESULT_SECONDS,
        long=True,
    )
    async with running_world(world), cutting_proxy(world.redis.port, seed=seed) as proxy:
        world.begin(scenario.name)
        try:
            await _play(world, proxy, seconds=minutes * 60.0, seed=seed)
        except Exception:  # noqa: BLE001  # what was recorded until then is judged
            world.problems.append("stopped by an error: " + traceback.format_exc())
        for line in _summary(world):
            print(line)
        outcome = judge(world, scenario, ReceiverKind.OWN, seconds=time.monotonic() - began)
        await world.close()
    return outcome


async def _play(world: World, proxy: CuttingProxy, *, seconds: float, seed: int) -> None:
    schedule = RandomSchedule(world, proxy, random.Random(seed))  # noqa: S311  # no secret
    await asyncio.gather(*(slot.fill() for slot in schedule.slots))
    producers = [await world.producer(), await world.producer(url=proxy.url)]
    before = await world.redis.size()
    stop = asyncio.Event()
    load = MixedLoad(producers, rate=_RATE, dice=random.Random(seed))  # noqa: S311  # no secret
    sending = asyncio.create_task(load.send(stop))
    async with world.traffic(_CALLS, seed=seed):
        await schedule.play(seconds)
    stop.set()
    await sending
    await world.finish(_SECONDS_TO_DRAIN, _SECONDS_TO_TIDY_UP)
    left = await world.leftovers(within=_SECONDS_TO_TIDY_UP)
    live = sum(len(slot.group.workers()) for slot in schedule.slots)
    world.expect(left.consumers <= live, f"{left.consumers} consumers are left, and {live} workers live")
    after = await _size_without_results(world, before)
    print(f"Redis: {before} before; {after} after; {left.consumers} consumers, {live} live workers")


async def _size_without_results(world: World, before: Size) -> Size:
    """What is there once all results have expired; or should have."""
    deadline = time.monotonic() + RESULT_SECONDS + _SECONDS_TO_TIDY_UP
    while True:
        size = await world.redis.size()
        if size.keys <= before.keys + _KEYS_MORE:
            return size
        if time.monotonic() > deadline:
            world.problems.append(f"keys are left: {size.keys}, and {before.keys} were there before")
            return size
        await asyncio.sleep(1.0)


def _summary(world: World) -> list[str]:
    checker = world.checker()
    kinds = sorted({(fault.kind, fault.note) for fault in world.faults.all})
    lines = [f"{'fault':40}  times  restarts  median s  longest s"]
    for kind, note in kinds:
        faults = [fault for fault in world.faults.all if (fault.kind, fault.note) == (kind, note)]
        seconds = sorted(second for fault in faults for second in checker.restarts(fault))
        times = f"{seconds[len(seconds) // 2]:8.1f}  {seconds[-1]:9.1f}" if seconds else f"{'-':>8}  {'-':>9}"
        lines.append(f"{f'{kind} {note}':40}  {len(faults):5}  {len(seconds):8}  {times}")
    return [*lines, f"{len(world.faults.all)} faults, {len(world.records.runs)} tasks"]


async def _no_body(_: World) -> None:
    """Nothing: the schedule is played by other means."""
