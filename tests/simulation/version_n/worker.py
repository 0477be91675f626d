"""A worker of the version before: its scripts, frozen beside this, called as its Python did."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, cast

import redis
from redis.exceptions import NoScriptError, RedisError

from kiqstart.broker.failure_detector import FailureDetector
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.lease import Lease
from kiqstart.broker.options import StreamOptions

_FOLDER: Final = Path(__file__).parent / "lua"
_OWN_TIME: Final = "local time = redis.call('TIME')\n    return time[1] * 1000 + math.floor(time[2] / 1000)"
_SECONDS_BETWEEN_READS: Final = 0.3
_SECONDS_FOR_AN_ANSWER: Final = 5.0
_AT_ONCE: Final = 100
_GROUP: Final = "taskiq"
SCRIPT_NAMES: Final[dict[str, str]] = {}
"""The name of each script by its SHA-1, and by the hash of its text."""
SCRIPT_TEXTS: Final[dict[str, str]] = {}
"""Each script by its SHA-1."""
Value = str | bytes | int | float


class OldScript:
    """One of its scripts. It takes its time as its last argument, so that a simulation can give it its own."""

    def __init__(self, name: str) -> None:
        library = (_FOLDER / "library.lua").read_text()
        if _OWN_TIME not in library:
            raise ValueError("the frozen library.lua is another one")
        time = "local TIME = tonumber(table.remove(ARGV))\n"
        self._text = time + library.replace(_OWN_TIME, "return TIME") + "\n" + (_FOLDER / f"{name}.lua").read_text()
        self._sha = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()
        SCRIPT_TEXTS[self._sha] = self._text
        SCRIPT_NAMES[self._sha] = SCRIPT_NAMES[str(hash(self._text))] = name

    def __call__(self, client: redis.Redis, keys: Sequence[str], arguments: Sequence[Value], now: str) -> object:
        """Run it."""
        try:
            return client.evalsha(self._sha, len(keys), *keys, *arguments, now)
        except NoScriptError:
            return client.eval(self._text, len(keys), *keys, *arguments, now)


_REGISTER: Final = OldScript("register")
_BEAT: Final = OldScript("beat")
_FETCH: Final = OldScript("fetch")
_SETTLE: Final = OldScript("settle")
_FENCE: Final = OldScript("fence")
_RECLAIM: Final = OldScript("reclaim")
_GIVE_BACK: Final = OldScript("give_back")


class Host(Protocol):
    """The machine that it runs on."""

    @property
    def name(self) -> str:
        """What its names in Redis are made of; it begins with no letter."""
        ...

    def now(self) -> str:
        """The milliseconds that its scripts take for the time."""
        ...

    def local_time(self) -> float:
        """Seconds of a steady clock."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block this thread."""
        ...

    def client(self, timeout: float) -> redis.Redis:
        """A connection; `timeout` is in seconds."""
        ...

    def start_thread(self, target: Callable[[], object]) -> None:
        """Start a thread."""
        ...


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Whether the worker may begin a task, and whether it still has it."""

    may_begin: Callable[[], bool]
    is_held: Callable[[], bool]


Program = Callable[[bytes, Claim], bytes | None]
"""Runs a message, and gives its result as it is stored; None where it may not begin, or is another's by its end."""


class OldWorker:
    """Runs one task at a time."""

    def __init__(
        self,
        host: Host,
        program: Program,
        keys: QueueKeys,
        *,
        weights: Mapping[str, int],
        options: StreamOptions,
        on_lease: Callable[[Lease], None],
    ) -> None:
        self._host = host
        self._program = program
        self._keys = keys
        self._queues = list(weights)
        self._options = options
        self._lease = Lease(options.lease)
        self._epoch = ""
        self._count = 0
        self._is_ending = False
        # What it runs: queue, stream and entry.
        self._running: tuple[str, str, str] | None = None
        self._detector = FailureDetector(span=lambda _: options.lease * 0.9, longest_gap=options.beat * 2)
        self._redis = host.client(options.beat * 2)
        self._reader = host.client(_SECONDS_FOR_AN_ANSWER)
        on_lease(self._lease)
        host.start_thread(self._beat_for_ever)
        host.start_thread(self._work_for_ever)

    def end(self, on_end: Callable[[], None]) -> None:
        """SIGTERM: give back what runs, which was cut off, and tell of its end. Redis has some seconds to answer."""
        self._is_ending = True

        def run() -> None:
            self._give_back()
            on_end()

        self._host.start_thread(run)

    def _give_back(self) -> None:
        if self._running is None:
            return
        queue, stream, entry = self._running
        names, options = self._keys, self._options
        keys = [stream, names.returned(queue), names.suspects(queue), names.stream(queue), names.dead, names.dropped]
        arguments: list[Value] = [_GROUP, self._lease.worker, options.max_deliveries, options.dead_letter_limit, entry]
        with suppress(RedisError):
            self._call(_GIVE_BACK, self._redis, [*keys, names.uniques], arguments)

    def _streams(self) -> list[tuple[str, str]]:
        keys = self._keys
        return [
            (queue, name)
            for queue in self._queues
            for name in (keys.suspects(queue), keys.returned(queue), keys.stream(queue))
        ]

    def _call(self, script: OldScript, client: redis.Redis, keys: Sequence[str], arguments: Sequence[Value]) -> object:
        return script(client, keys, arguments, self._host.now())

    def _register(self) -> None:
        began = self._host.local_time()
        self._count += 1
        self._lease.lapse()
        self._lease.worker = f"kiq-0{self._host.name}n{self._count:04d}"
        names = self._keys
        keys = [names.workers, names.epoch, names.queues, *(stream for _, stream in self._streams())]
        arguments = [_GROUP, self._lease.worker, f"{self._host.name}e{self._count}", *self._queues]
        self._epoch = cast("bytes", self._call(_REGISTER, self._redis, keys, arguments)).decode()
        self._lease.registered(self._epoch, began)

    def _beat_for_ever(self) -> None:
        while True:
            try:
                if self._lease.worker:
                    self._beat()
                else:
                    self._register()
            except RedisError:
                self._host.sleep(self._options.beat / 5)
            else:
                self._host.sleep(self._options.beat)

    def _beat(self) -> None:
        began, names = self._host.local_time(), self._keys
        keys = [names.workers, names.epoch, names.delayed, names.delayed_messages, names.dead, names.dropped]
        beat = self._options.beat * 1000
        arguments: list[Value] = [
            self._lease.worker,
            round(beat * 1.5),
            500,
            round(self._options.dead_letter_age * 1000),
        ]
        answer = cast(
            "list[object]",
            self._call(_BEAT, self._redis, [*keys, names.cancelled, names.janitor], [*arguments, round(beat * 10)]),
        )
        if answer[0]:
            self._lease.renewed(began)
        else:
            self._lease.lapse()
            self._register()
        flat = cast("list[bytes]", answer[6])
        late = {name.decode(): at.decode() for name, at in zip(flat[::2], flat[1::2], strict=True)}
        late.pop(self._lease.worker, None)
        for worker, at in self._detector.look(late, self._host.local_time()):
            if self._call(_FENCE, self._redis, [names.workers], [worker, at]):
                self._reclaim(worker)

    def _reclaim(self, worker: str) -> None:
        names = self._keys
        for queue, stream in self._streams():
            keys = [names.workers, stream, names.returned(queue), names.suspects(queue), names.stream(queue)]
            keys += [names.dead, names.dropped, names.uniques]
            arguments: list[Value] = [
                _GROUP,
                worker,
                0,
                _AT_ONCE,
                self._options.max_deliveries,
                self._options.dead_letter_limit,
            ]
            self._call(_RECLAIM, self._redis, keys, arguments)

    def _work_for_ever(self) -> None:
        while True:
            with suppress(RedisError):
                self._work()
            self._host.sleep(_SECONDS_BETWEEN_READS)

    def _work(self) -> None:
        worker, names = self._lease.worker, self._keys
        if not self._lease.is_trusted or self._is_ending:
            return
        streams = self._streams()
        keys = [names.workers, names.cancelled, *(stream for _, stream in streams)]
        answer = self._call(_FETCH, self._reader, keys, [_GROUP, worker, 1, "take"])
        if not isinstance(answer, list) or worker != self._lease.worker:
            return
        found = cast("list[object]", answer)
        for place, entries in zip(found[1::2], found[2::2], strict=True):
            queue, stream = streams[cast("int", place) - 3]
            for raw in cast("list[tuple[bytes, list[bytes]]]", entries):
                self._running = (queue, stream, raw[0].decode())
                self._run(stream, raw[0].decode(), dict(zip(raw[1][::2], raw[1][1::2], strict=True)), worker)

    def _run(self, stream: str, entry: str, fields: dict[bytes, bytes], worker: str) -> None:
        claim = Claim(
            may_begin=lambda: self._lease.is_trusted and worker == self._lease.worker and not self._is_ending,
            is_held=lambda: worker == self._lease.worker and not self._is_ending,
        )
        result = self._program(fields[b"data"], claim)
        if result is not None:
            # It is too late to give it back.
            self._running = None
            self._settle(stream, entry, json.loads(fields[b"data"])["task_id"], fields, result)

    def _settle(self, stream: str, entry: str, task_id: str, fields: dict[bytes, bytes], result: bytes) -> None:
        names = self._keys
        keys = [names.epoch, names.uniques, names.delayed, names.delayed_messages, names.dead, names.dropped]
        keys += [stream, names.name, names.result(task_id)]
        arguments: list[Value] = [_GROUP, self._options.dead_letter_limit, 3_600_000, 0, self._epoch, task_id]
        arguments += [fields.get(b"unique", b""), "done", "", "", "", "", "", entry, result]
        while True:
            try:
                self._call(_SETTLE, self._reader, keys, arguments)
            except RedisError:
                self._host.sleep(_SECONDS_BETWEEN_READS)
            else:
                return
