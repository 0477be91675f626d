"""What lies between processes and Redis: commands travel, and get lost, late or cut off on the way."""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from random import Random
from typing import Final, Protocol, cast

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from tests.simulation.kernel import Kernel, Process
from tests.simulation.scripts import by_clock, script_names, sha_of, shas_by_clock
from tests.simulation.server import Server, Value, Wire

# Seconds that a command or an answer travels: most a few milliseconds, some much longer.
_SHORTEST: Final = 0.0005
_LONGEST: Final = 200.0
_IN_ORDER: Final = 1e-7
# No history takes so long in real time.
_LONG_MS: Final = 3_600_000
# Of a message, in its JSON.
UID: Final = re.compile(rb'"args": ?\[(\d+)')
# After these scripts a read that waits may find something, and somebody may have been told something.
_NONE: Final[frozenset[str]] = frozenset()
_HANDING: Final = frozenset({"XREADGROUP", "adopt", "fetch"})
_FORGOTTEN: Final = "0" * 40
_ADDING: Final = frozenset(
    {"send", "settle", "move", "give_back", "reclaim", "resend", "resend_run", "fire", "testify"}
)
RawEntry = tuple[bytes, list[bytes]]
TELLING: Final = frozenset({"settle", "cancel", "cancel_entry", "condemn", "move", "announce"})


class FaultKind(StrEnum):
    """What may happen to a command."""

    REQUEST_LOST = "request-lost"
    ANSWER_LOST = "answer-lost"
    ANSWER_LATE = "answer-late"
    LATE = "late"
    REPEATED = "repeated"
    """The connection is lost with it, and it is executed later all the same, after its sender has tried again."""


@dataclass(kw_only=True)
class NetworkFault:
    """What happens to the next commands of a process.

    Args:
        script: the script that is meant; '' for any command.
        count: how many commands.
        seconds: by how much they are late.
    """

    kind: FaultKind
    script: str = ""
    count: int = 1
    seconds: float = 0.0


@dataclass(kw_only=True, eq=False, slots=True)
class Command:
    """A command on its way.

    Args:
        name: of the script, or of the command.
        process: whose it is.
        on_answer: gets the answer or an error, in the process.
        deadline: when its client gives the connection up, if there is no answer by then.
    """

    name: str
    arguments: list[Value]
    process: Process
    session: "Session"
    on_answer: Callable[[object], None]
    deadline: float
    fault: FaultKind | None = None
    seconds: float = 0.0
    parked_at: float | None = None
    is_dropped: bool = False
    is_executed: bool = False
    is_answered: bool = False


@dataclass(kw_only=True, eq=False, slots=True)
class Session:
    """One connection, while it lives: commands and answers keep their order."""

    link: "Link"
    last_arrival: float = 0.0
    last_answer: float = 0.0
    is_broken: bool = False
    # Whether a timer looks for commands without an answer.
    is_watched: bool = False
    parked: Command | None = None
    queue: deque[Command] = field(default_factory=deque[Command])
    in_flight: list[Command] = field(default_factory=list[Command])


class Link:
    """A client's way to Redis: one connection at a time.

    Args:
        timeout: seconds after which the client gives a connection up that does not answer.
    """

    def __init__(self, process: Process, *, timeout: float) -> None:
        self.process: Final = process
        self.timeout: Final = timeout
        self.session: Session | None = None


class Observer(Protocol):
    """Sees what Redis has done."""

    def on_executed(self, command: Command, answer: object) -> None:
        """A command was executed."""
        ...

    def on_handed(self, process: Process, uid: int, *, is_over: bool) -> None:
        """A process was handed a message; where it is over, none may take it that has left it to others."""
        ...


class Listener(Protocol):
    """Hears what is published."""

    def on_listening(self, channel: str) -> None:
        """From now on."""
        ...

    def on_message(self, channel: str, message: bytes) -> None:
        """Something was published."""
        ...

    def on_lost(self) -> None:
        """Until `on_listening` nothing is heard."""
        ...


class Subscription:
    """A process' ears."""

    def __init__(self, network: "Network", process: Process, listener: Listener) -> None:
        self._network = network
        self.process: Final = process
        self.listener: Final = listener
        self.channels: set[str] = set()
        self.is_refused = False

    def join(self, channel: str) -> None:
        """Hear a channel."""
        self._network.kernel.after(latency(self.process.random), lambda: self._joined(channel))

    def leave(self, channel: str) -> None:
        """Hear it no more."""
        self.channels.discard(channel)

    def hears(self, channel: str) -> bool:
        """Whether it hears a channel now."""
        return channel in self.channels

    def reconnect(self) -> None:
        """Have a new connection."""
        self.lose()

    async def aclose(self) -> None:
        """Hear nothing more."""
        self.channels.clear()

    def lose(self) -> None:
        """The connection is cut; a new one takes its place."""
        lost, self.channels = self.channels, set()
        self.process.do(lambda: self.process.loop.call_soon(self.listener.on_lost))
        for channel in sorted(lost):
            self.join(channel)

    def _joined(self, channel: str) -> None:
        self._network.forget_what_was_said()
        self.channels.add(channel)
        self.process.do(lambda: self.process.loop.call_soon(self.listener.on_listening, channel))


class Network:
    """All connections to one Redis, whose clock is a virtual one.

    Args:
        observer: sees each command that was executed.
        start_ms: what Redis' clock says when the world begins.
    """

    def __init__(self, kernel: Kernel, server: Server, observer: Observer, *, start_ms: int) -> None:
        self.kernel: Final = kernel
        self._server = server
        self._observer = observer
        self._names = script_names()
        self._shas = shas_by_clock()
        self._sessions: list[Session] = []
        self._parked: list[Command] = []
        self._subscriptions: list[Subscription] = []
        self._is_anything_said = False
        self._expiring: dict[str, float] = {}
        self._expires_at: dict[str, float] = {}
        self._taken_at: dict[tuple[bytes, bytes], float] = {}
        self._takers: dict[tuple[bytes, bytes], Process] = {}
        # The messages that each worker was ever handed, by its name.
        self.handed: dict[str, set[int]] = {}
        self.clock_offset_ms = start_ms
        self.is_down = False
        # How often the server was started anew.
        self.restarts = 0
        self.stalled_until = 0.0
        # What happens to the next commands of each process, by its name; and the rights of those that have not all.
        self.faults: dict[str, list[NetworkFault]] = {}
        self.rights: dict[str, tuple[str, ...]] = {}
        self.executed = 0
        # Until when something may be on its way that a fault makes late.
        self.late_until = 0.0
        # A packed command with which a look is taken after each of some scripts, and what it has found.
        self.look = b""
        self.look_now: Callable[[], list[bytes]] = list
        self.looked_after: frozenset[str] = frozenset()
        self.seen: object = None

    def now_ms(self) -> int:
        """Redis' clock."""
        return int(self.kernel.now * 1000) + self.clock_offset_ms

    def subscribe(self, process: Process, listener: Listener) -> Subscription:
        """Give a process ears."""
        subscription = Subscription(self, process, listener)
        self._subscriptions.append(subscription)
        return subscription

    def send(self, link: Link, arguments: list[Value], on_answer: Callable[[object], None]) -> None:
        """Send a command."""
        process = link.process
        if self.is_down:
            refused = RedisConnectionError("connection refused")
            self.kernel.after(latency(process.random), lambda: process.do(lambda: on_answer(refused)))
            return
        session = link.session
        if session is None:
            session = link.session = Session(link=link)
            self._sessions.append(session)
        now = self.kernel.now
        command = Command(
            name=self._name(arguments),
            arguments=arguments,
            process=process,
            session=session,
            on_answer=on_answer,
            deadline=now + link.timeout,
        )
        fault = self._fault(process, command.name) if process.name in self.faults else None
        arrival = max(now + latency(process.random), session.last_arrival + _IN_ORDER)
        if fault is not None:
            command.fault, command.seconds = fault.kind, fault.seconds
            if fault.kind not in (FaultKind.ANSWER_LATE, FaultKind.REPEATED):
                arrival += fault.seconds
            self.late_until = max(self.late_until, arrival + fault.seconds)
        session.last_arrival = arrival
        session.in_flight.append(command)
        self.kernel.at(arrival, lambda: self._arrive(command))
        if not session.is_watched:
            session.is_watched = True
            self.kernel.at(command.deadline, lambda: self._watch(session))

    def close(self, link: Link) -> None:
        """The client lets its connection go."""
        if link.session is not None:
            self._break(link.session, RedisConnectionError("the client is closed"))

    def break_all(self, *, of: Process | None = None, error: str = "connection reset") -> None:
        """Cut all connections, or those of a process."""
        for session in list(self._sessions):
            if of in (None, session.link.process):
                self._break(session, RedisConnectionError(error))
        for subscription in self._subscriptions:
            if of in (None, subscription.process) and subscription.channels:
                subscription.lose()

    def taker(self, stream: str, entry: str) -> Process | None:
        """Who was handed an entry."""
        return self._takers.get((stream.encode(), entry.encode()))

    def forget_what_was_said(self) -> None:
        """What was published before a subscription is not heard by it."""
        if self._is_anything_said:
            self._server.heard()
            self._is_anything_said = False

    def _name(self, arguments: list[Value]) -> str:
        verb = str(arguments[0])
        if verb == "EVALSHA":
            return self._names.get(str(arguments[1]), verb)
        return self._names.get(str(hash(arguments[1])), verb) if verb == "EVAL" else verb

    def _fault(self, process: Process, name: str) -> NetworkFault | None:
        for fault in self.faults.get(process.name, ()):
            if fault.count > 0 and fault.script in ("", name):
                fault.count -= 1
                return fault
        return None

    def _arrive(self, command: Command) -> None:
        session = command.session
        if command.is_dropped:
            return
        if self.stalled_until > self.kernel.now:
            self.kernel.at(self.stalled_until, lambda: self._arrive(command))
        elif command.fault is FaultKind.REQUEST_LOST:
            command.is_dropped = True
            self._break(session, RedisConnectionError("connection reset"))
        elif command.fault is FaultKind.REPEATED:
            command.is_dropped = True
            if "BLOCK" not in command.arguments:
                self.kernel.after(command.seconds, partial(self._repeat, command, self.restarts))
            self._break(session, RedisConnectionError("connection reset"))
        elif session.parked is not None:
            session.queue.append(command)
        else:
            self._execute(command)

    def _execute(self, command: Command) -> None:
        answer = self._ask(command)
        if answer is None and command.name == "XREADGROUP" and "BLOCK" in command.arguments:
            command.session.parked = command
            command.parked_at = self.kernel.now
            self._parked.append(command)
            wait = cast("int", command.arguments[command.arguments.index("BLOCK") + 1]) / 1000
            self.kernel.after(wait, lambda: self._unpark(command, None))
            return
        self._executed(command, answer)

    def _executed(self, command: Command, answer: object) -> None:
        self.executed += 1
        command.is_executed = True
        if command.name in _HANDING:
            self._note_taken(command, answer)
        if command.name == "SET" and answer == b"OK":
            self._note_expiry(command.arguments)
        fresh = self._fresh_streams() if command.name in _ADDING and self._parked else _NONE
        self._observer.on_executed(command, answer)
        if command.fault is FaultKind.ANSWER_LOST:
            session = command.session
            lost = RedisConnectionError("connection reset")
            self.kernel.after(latency(command.process.random), lambda: self._break(session, lost))
        else:
            session = command.session
            after = latency(command.process.random) + (command.seconds if command.fault is FaultKind.ANSWER_LATE else 0)
            session.last_answer = max(self.kernel.now + after, session.last_answer + _IN_ORDER)
            self.kernel.at(session.last_answer, lambda: self._answer(command, answer))
        if command.name in TELLING:
            self._tell()
        if fresh:
            self._wake_parked(fresh)

    def _wake_parked(self, fresh: frozenset[str]) -> None:
        for parked in [one for one in self._parked if not fresh.isdisjoint(one.arguments)]:
            found = self._read(parked)
            if found is not None:
                self._unpark(parked, found)

    def _repeat(self, command: Command, restarts: int) -> None:
        """What was on its way for long is executed, if the server is still the same; nobody hears of its answer."""
        if self.is_down or restarts != self.restarts:
            return
        if self.stalled_until > self.kernel.now:
            self.kernel.at(self.stalled_until, partial(self._repeat, command, restarts))
            return
        self._execute(replace(command, fault=None, is_answered=True, is_dropped=False))

    def let_expire(self) -> None:
        """Keys that were set for some seconds go by the simulated time; here no script waits for one to go.

        Where Redis has come back with older data, they may be there again, and go after as long as the first time.
        """
        for key, seconds in self._expiring.items():
            self._expires_at[key] = self.kernel.now + seconds
            self.kernel.after(seconds, partial(self._expire, key))

    def _note_expiry(self, arguments: list[Value]) -> None:
        if "PX" in arguments:
            key, seconds = str(arguments[1]), cast("int", arguments[arguments.index("PX") + 1]) / 1000
            self._server.wire.ask("PEXPIRE", key, _LONG_MS)
            self._expiring[key], self._expires_at[key] = seconds, self.kernel.now + seconds
            self.kernel.after(seconds, partial(self._expire, key))

    def _expire(self, key: str) -> None:
        if self.kernel.now >= self._expires_at[key]:
            self._server.wire.ask("DEL", key)

    def _answer(self, command: Command, answer: object) -> None:
        if not command.is_answered:
            command.is_answered = True
            command.session.in_flight.remove(command)
            command.process.do(lambda: command.on_answer(answer))

    def _watch(self, session: Session) -> None:
        """Look for a command that has waited for its answer for too long: one timer for all that are in flight."""
        if not session.in_flight or session.is_broken:
            session.is_watched = False
        elif session.in_flight[0].deadline <= self.kernel.now:
            self._break(session, RedisTimeoutError("no answer in time"), is_received=True)
        else:
            self.kernel.at(session.in_flight[0].deadline, lambda: self._watch(session))

    def _break(self, session: Session, error: Exception, *, is_received: bool = False) -> None:
        """End a connection: what is on its way may still be executed, up to some command, but is not answered."""
        if session.is_broken:
            return
        session.is_broken = True
        self._sessions.remove(session)
        link, random = session.link, session.link.process.random
        if link.session is session:
            link.session = None
        open_commands = [one for one in session.in_flight if not one.is_executed]
        kept = len(open_commands) if is_received else random.randint(0, len(open_commands))
        for command in open_commands[kept:]:
            command.is_dropped = True
        if session.parked is not None and (session.parked.is_dropped or random.random() < 0.5):
            # Else the server has not noticed yet that nobody is there any more.
            self._parked.remove(session.parked)
            session.parked = None
        for command in session.in_flight:
            if not command.is_answered:
                command.is_answered = True
                self.kernel.at(self.kernel.now, partial(_refuse, command, error))

    def _unpark(self, command: Command, answer: object) -> None:
        if command not in self._parked:
            return
        self._parked.remove(command)
        session = command.session
        session.parked = None
        self._executed(command, answer)
        while session.queue and session.parked is None:
            following = session.queue.popleft()
            if not following.is_dropped:
                self._execute(following)

    def _ask(self, command: Command) -> object:  # noqa: PLR0911  # one for each kind of command
        arguments, wire = command.arguments, self._server.wire
        rights = self.rights.get(command.process.name)
        if rights is not None:
            wire = self._server.as_user(rights)
        match command.name:
            case "TIME":
                now = self.now_ms()
                return [b"%d" % (now // 1000), b"%d" % (now % 1000 * 1000)]
            case "XREADGROUP":
                return self._read(command)
            case "XPENDING" if "IDLE" in arguments:
                at = arguments.index("IDLE")
                since = self.kernel.now - cast("int", arguments[at + 1]) / 1000
                found = wire.ask(*arguments[:at], *arguments[at + 2 :])
                if isinstance(found, Exception):
                    return found
                key = str(arguments[1]).encode()
                rows = cast("list[list[bytes]]", found)
                return [row for row in rows if self._taken_at.get((key, row[0]), 0.0) <= since]
            case "strays":
                return self._strays(command)
            case "SMEMBERS" | "SRANDMEMBER":
                found = wire.ask(*arguments)
                return found if isinstance(found, Exception) else sorted(cast("list[bytes]", found))
            case _ if arguments[0] in ("EVALSHA", "EVAL"):
                return self._run_script(command, wire)
            case _:
                return wire.ask(*arguments)

    def _run_script(self, command: Command, wire: Wire) -> object:
        timed = (*self._by_clock(command), *command.arguments[2:-1], self.now_ms())
        if wire is not self._server.wire or command.name not in self.looked_after:
            return wire.ask(*timed)
        answer, self.seen = wire.ask_both(timed, self.look)
        return answer

    def _by_clock(self, command: Command) -> tuple[str, str]:
        """The script by the simulated clock; one that the server has never had, where it is to have forgotten it."""
        verb, script = command.arguments[0], str(command.arguments[1])
        if verb == "EVALSHA":
            sha = self._shas.get(script, script)
            return "EVALSHA", sha if self._server.knows(sha) else _FORGOTTEN
        text = by_clock(script)
        sha = sha_of(text)
        return ("EVALSHA", sha) if self._server.learn(sha) else ("EVAL", text)

    def _strays(self, command: Command) -> object:
        """What the script finds if it does not ask since when, and then what of it has been there for as long."""
        count = cast("int", command.arguments[2])
        keys, (group, worker, idle_ms) = command.arguments[3 : 3 + count], command.arguments[3 + count : 6 + count]
        rights = self.rights.get(command.process.name)
        wire = self._server.wire if rights is None else self._server.as_user(rights)
        found = wire.ask(*self._by_clock(command), *command.arguments[2 : 3 + count], group, worker, 0, self.now_ms())
        if isinstance(found, Exception):
            return found
        since = self.kernel.now - cast("int", idle_ms) / 1000
        return [
            [entry for entry in entries if self._taken_at.get((str(key).encode(), entry), 0.0) <= since]
            for key, entries in zip(keys, cast("list[list[bytes]]", found), strict=True)
        ]

    def _read(self, command: Command) -> object:
        arguments = command.arguments
        if "BLOCK" in arguments:
            at = arguments.index("BLOCK")
            arguments = [*arguments[:at], *arguments[at + 2 :]]
        rights = self.rights.get(command.process.name)
        return (self._server.wire if rights is None else self._server.as_user(rights)).ask(*arguments)

    def _fresh_streams(self) -> frozenset[str]:
        """In which streams there is something that nobody has been handed yet."""
        rows = cast("list[bytes]", self.seen) if isinstance(self.seen, list) else self.look_now()
        fields = [row.split(b"\t") for row in rows if row.startswith(b"stream")]
        return frozenset(one[4].decode() for one in fields if (one[4], one[5]) not in self._taken_at)

    def _note_taken(self, command: Command, answer: object) -> None:
        """Since when an entry is pending, in virtual time."""
        if not isinstance(answer, list):
            return
        found: list[tuple[bytes, list[RawEntry]]] = []
        worker = ""
        if command.name == "XREADGROUP":
            found, worker = cast("list[tuple[bytes, list[RawEntry]]]", answer), name_of_value(command.arguments[3])
        elif command.name == "adopt":
            worker = name_of_value(command.arguments[4 + cast("int", command.arguments[2])])
            found = [(str(command.arguments[5]).encode(), cast("list[RawEntry]", answer[1:]))]
        else:
            keys, worker = (
                command.arguments[3:],
                name_of_value(command.arguments[4 + cast("int", command.arguments[2])]),
            )
            places = cast("list[int]", answer[1::2])
            entries = cast("list[list[RawEntry]]", answer[2::2])
            # Behind all else stands what is paused.
            found = [(str(keys[at - 1]).encode(), some) for at, some in zip(places, entries, strict=True) if at]
        for stream, some in found:
            for entry in some:
                self._taken_at[stream, entry[0]] = self.kernel.now
                self._takers[stream, entry[0]] = command.process
                fields = dict(zip(entry[1][::2], entry[1][1::2], strict=True))
                if named := UID.search(fields.get(b"data", b"")):
                    self.handed.setdefault(worker, set()).add(int(named[1]))
                    self._observer.on_handed(command.process, int(named[1]), is_over=fields.get(b"left") == b"over")

    def _tell(self) -> None:
        if not any(one.channels for one in self._subscriptions):
            self._is_anything_said = True
            return
        for channel, message in self._server.heard():
            for one in self._subscriptions:
                if channel in one.channels:
                    self.kernel.after(latency(one.process.random), partial(_hear, one, channel, message))


def _refuse(command: Command, error: Exception) -> None:
    command.process.do(lambda: command.on_answer(error))


def _hear(subscription: Subscription, channel: str, message: bytes) -> None:
    process = subscription.process
    if channel in subscription.channels:
        process.do(lambda: process.loop.call_soon(subscription.listener.on_message, channel, message))


def latency(random: Random) -> float:
    """Seconds."""
    return _SHORTEST * float(_LONGEST ** random.random())


def name_of_value(value: Value) -> str:
    """A name as text, which scripts are given as it is or as its bytes."""
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(value)
