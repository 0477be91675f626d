"""A worker of the version before: its scripts, frozen beside this, called as its Python did."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

from redis.exceptions import NoScriptError, RedisError
from tests.invariants.facts import Run
from tests.invariants.model import Model
from tests.simulation.clients import BlockingClient
from tests.simulation.kernel import Process, current_thread
from tests.simulation.network import Network
from tests.simulation.product import GROUP, OPTIONS, WEIGHTS
from tests.simulation.scripts import MORE_NAMES

from kiqstart.infrastructure.taskiq.streams.failure_detector import FailureDetector
from kiqstart.infrastructure.taskiq.streams.keys import QueueKeys
from kiqstart.infrastructure.taskiq.streams.lease import Lease

_FOLDER: Final = Path(__file__).parent / "lua"
_OWN_TIME: Final = "local time = redis.call('TIME')\n    return time[1] * 1000 + math.floor(time[2] / 1000)"
_SECONDS_BETWEEN_READS: Final = 0.3
_AT_ONCE: Final = 100
Value = str | bytes | int | float


class OldScript:
    """One of its scripts; it gets the simulation's time as the others do."""

    def __init__(self, name: str) -> None:
        library = (_FOLDER / "library.lua").read_text()
        if _OWN_TIME not in library:
            raise ValueError("the frozen library.lua is another one")
        time = "local TIME = tonumber(table.remove(ARGV))\n"
        self._text = time + library.replace(_OWN_TIME, "return TIME") + "\n" + (_FOLDER / f"{name}.lua").read_text()
        self._sha = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()
        MORE_NAMES[self._sha] = MORE_NAMES[str(hash(self._text))] = name

    def __call__(self, redis: BlockingClient, keys: Sequence[str], arguments: Sequence[Value]) -> object:
        """Run it."""
        try:
            return redis.evalsha(self._sha, len(keys), *keys, *arguments, "now")
        except NoScriptError:
            return redis.eval(self._text, len(keys), *keys, *arguments, "now")


_REGISTER: Final = OldScript("register")
_BEAT: Final = OldScript("beat")
_FETCH: Final = OldScript("fetch")
_SETTLE: Final = OldScript("settle")
_FENCE: Final = OldScript("fence")
_RECLAIM: Final = OldScript("reclaim")


def _streams(keys: QueueKeys) -> list[tuple[str, str]]:
    return [
        (queue, name) for queue in WEIGHTS for name in (keys.suspects(queue), keys.returned(queue), keys.stream(queue))
    ]


class OldWorker:
    """Runs one task at a time.

    Args:
        on_lease: is told of its lease.
        task_of: reads a message's task and uid.
        encode: makes a result of its word.
        on_kill: a task has taken this process down.
    """

    def __init__(
        self,
        network: Network,
        process: Process,
        model: Model,
        keys: QueueKeys,
        *,
        on_lease: Callable[[Process, Lease], None],
        task_of: Callable[[bytes], tuple[str, int | None]],
        encode: Callable[[str], bytes],
        on_kill: Callable[[], None],
    ) -> None:
        self.process: Final = process
        self._model = model
        self._keys = keys
        self._task_of = task_of
        self._encode = encode
        self._on_kill = on_kill
        self._lease = Lease(OPTIONS.lease)
        self._epoch = ""
        self._count = 0
        self._detector = FailureDetector(span=lambda _: OPTIONS.lease * 0.9, longest_gap=OPTIONS.beat * 2)
        self._redis = BlockingClient(network, process, timeout=OPTIONS.beat * 2)
        self._reader = BlockingClient(network, process, timeout=5.0)
        on_lease(process, self._lease)
        process.start_thread(self._beat_for_ever)
        process.start_thread(self._work_for_ever)

    def _sleep(self, seconds: float) -> None:
        thread, process = current_thread(), self.process
        process.kernel.after(seconds, lambda: process.do(thread.resume))
        thread.block()

    def _register(self) -> None:
        began = self.process.local_time()
        self._count += 1
        self._lease.lapse()
        self._lease.worker = f"kiq-0{self.process.name}n{self._count:04d}"
        names = self._keys
        keys = [names.workers, names.epoch, names.queues, *(stream for _, stream in _streams(names))]
        arguments = [GROUP, self._lease.worker, f"{self.process.name}e{self._count}", *WEIGHTS]
        self._epoch = cast("bytes", _REGISTER(self._redis, keys, arguments)).decode()
        self._lease.registered(self._epoch, began)

    def _beat_for_ever(self) -> None:
        while True:
            try:
                if self._lease.worker:
                    self._beat()
                else:
                    self._register()
            except RedisError:
                self._sleep(OPTIONS.beat / 5)
            else:
                self._sleep(OPTIONS.beat)

    def _beat(self) -> None:
        began, names = self.process.local_time(), self._keys
        keys = [names.workers, names.epoch, names.delayed, names.delayed_messages, names.dead, names.dropped]
        beat = OPTIONS.beat * 1000
        arguments: list[Value] = [self._lease.worker, round(beat * 1.5), 500, round(OPTIONS.dead_letter_age * 1000)]
        answer = cast(
            "list[object]", _BEAT(self._redis, [*keys, names.cancelled, names.janitor], [*arguments, round(beat * 10)])
        )
        if answer[0]:
            self._lease.renewed(began)
        else:
            self._lease.lapse()
            self._register()
        flat = cast("list[bytes]", answer[6])
        late = {name.decode(): at.decode() for name, at in zip(flat[::2], flat[1::2], strict=True)}
        late.pop(self._lease.worker, None)
        for worker, at in self._detector.look(late, self.process.local_time()):
            if _FENCE(self._redis, [names.workers], [worker, at]):
                self._reclaim(worker)

    def _reclaim(self, worker: str) -> None:
        names = self._keys
        for queue, stream in _streams(names):
            keys = [names.workers, stream, names.returned(queue), names.suspects(queue), names.stream(queue)]
            keys += [names.dead, names.dropped, names.uniques]
            arguments: list[Value] = [GROUP, worker, 0, _AT_ONCE, OPTIONS.max_deliveries, OPTIONS.dead_letter_limit]
            _RECLAIM(self._redis, keys, arguments)

    def _work_for_ever(self) -> None:
        while True:
            with suppress(RedisError):
                self._work()
            self._sleep(_SECONDS_BETWEEN_READS)

    def _work(self) -> None:
        worker, names = self._lease.worker, self._keys
        if not self._lease.is_trusted:
            return
        streams = _streams(names)
        keys = [names.workers, names.cancelled, *(stream for _, stream in streams)]
        answer = _FETCH(self._reader, keys, [GROUP, worker, 1, "take"])
        if not isinstance(answer, list) or worker != self._lease.worker:
            return
        found = cast("list[object]", answer)
        for place, entries in zip(found[1::2], found[2::2], strict=True):
            _, stream = streams[cast("int", place) - 3]
            for raw in cast("list[tuple[bytes, list[bytes]]]", entries):
                self._run(stream, raw[0].decode(), dict(zip(raw[1][::2], raw[1][1::2], strict=True)), worker)

    def _run(self, stream: str, entry: str, fields: dict[bytes, bytes], worker: str) -> None:
        task_id, uid = self._task_of(fields[b"data"])
        if uid is None:
            self._model.occurrences.run(task_id)
            return self._settle(stream, entry, task_id, fields, self._encode("ok:"))
        if not self._lease.is_trusted or worker != self._lease.worker:
            return None
        run = self._model.begin(uid, self.process)
        behaviour = self._model.sent[uid].behaviour
        self._sleep(behaviour.seconds)
        how = behaviour.ends[min(run.number, len(behaviour.ends) - 1)]
        if worker != self._lease.worker:
            # Another worker has it by now, and what it did here is dropped.
            return self._model.end(uid, run, "cut", is_final=False)
        if how == "kill":
            self._on_kill()
            self._sleep(3600.0)
        return self._end(stream, entry, task_id, fields, uid, run, how)

    def _end(
        self, stream: str, entry: str, task_id: str, fields: dict[bytes, bytes], uid: int, run: Run, how: str
    ) -> None:
        # What it cannot do here is to send an error again: it ends with the first.
        self._model.end(uid, run, how, is_final=True)
        self._settle(stream, entry, task_id, fields, self._encode(f"{how}:{uid}.{run.number}"))

    def _settle(self, stream: str, entry: str, task_id: str, fields: dict[bytes, bytes], result: bytes) -> None:
        names = self._keys
        keys = [names.epoch, names.uniques, names.delayed, names.delayed_messages, names.dead, names.dropped]
        keys += [stream, names.name, names.result(task_id)]
        arguments: list[Value] = [GROUP, OPTIONS.dead_letter_limit, 3_600_000, 0, self._epoch, task_id]
        arguments += [fields.get(b"unique", b""), "done", "", "", "", "", "", entry, result]
        while True:
            try:
                _SETTLE(self._reader, keys, arguments)
            except RedisError:
                self._sleep(_SECONDS_BETWEEN_READS)
            else:
                return
