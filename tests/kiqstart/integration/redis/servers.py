"""Redis servers of the tests' own, on free ports: one, a master with its replica and Sentinel, a cluster, with TLS."""

import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry
from tests.deadlines import HANG

from kiqstart.local.redis import find_redis

PASSWORD: Final = "p@ss/w:rd#? %"
ESCAPED_PASSWORD: Final = "p%40ss%2Fw%3Ard%23%3F%20%25"

SLOTS: Final = 16384
# A cluster's node listens on its port + 10000 too.
CLUSTER_PORTS: Final = range(20_000, 32_000)


@dataclass(kw_only=True)
class Server:
    """One process of `redis-server`, with its data and its log in `folder`."""

    program: Path
    folder: Path
    port: int
    arguments: Sequence[str] = ()
    password: str | None = None
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False, repr=False)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.program, *self._options()], cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + HANG
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"the server does not answer:\n{(self.folder / 'log').read_text()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Like a crash: nothing is saved, connections just end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(HANG)
            self._process = None

    def freeze(self) -> None:
        """Let it stand still: connections stay, and nothing is answered."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def client(self) -> Generator[Redis]:
        """A client of this very server, without TLS."""
        client = Redis(host="127.0.0.1", port=self.port, password=self.password, retry=Retry(NoBackoff(), 0))
        try:
            yield client
        finally:
            client.close()

    def ask(self, *command: str | int) -> object:
        """The answer to a command."""
        with self.client() as client:
            return cast("object", client.execute_command(*command))

    def _options(self) -> list[str]:
        # A Sentinel's port is in its file, and it knows no other options of this kind.
        if "--sentinel" in self.arguments:
            return list(self.arguments)
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *self.arguments]
        return [*options, "--requirepass", self.password] if self.password else options

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return client.ping()
        except (RedisError, OSError):
            return False


@contextmanager
def running(server: Server) -> Generator[Server]:
    """Start a server, and kill it at the end."""
    try:
        server.start()
        yield server
    finally:
        server.kill()


def make_server(folder: Path, *arguments: str, password: str | None = None) -> Server:
    """A server on a free port, not started yet."""
    return Server(
        program=find_redis(folder).program,
        folder=folder,
        port=free_port(),
        arguments=arguments,
        password=password,
    )


@dataclass(frozen=True, kw_only=True)
class SentinelGroup:
    """A master, its replica, and one Sentinel that watches over them under the name `service`."""

    master: Server
    replica: Server
    sentinel: Server
    service: str = "main"

    @property
    def url(self) -> str:
        """Where clients find the master; a Sentinel that is not there stands first."""
        return (
            f"sentinel://:{ESCAPED_PASSWORD}@127.0.0.1:1,127.0.0.1:{self.sentinel.port}/{self.service}"
            f"?sentinel_password={ESCAPED_PASSWORD}"
        )

    def fail_over(self) -> None:
        """Have the Sentinel make the replica the master now, and wait until it says so."""
        with self.sentinel.client() as sentinel:

            def is_under_way() -> bool:
                # Refused until the Sentinel has heard from the replica.
                with suppress(ResponseError):
                    return cast("bool", sentinel.execute_command("SENTINEL", "FAILOVER", self.service))
                return False

            _wait_until(is_under_way)
        self.wait_for_failover()

    def wait_for_failover(self) -> None:
        """Wait until the Sentinel names the former replica, and that is a master."""
        with self.sentinel.client() as sentinel, self.replica.client() as replica:
            _wait_until(
                lambda: (
                    _master_port(sentinel, self.service) == self.replica.port
                    and cast("list[bytes]", replica.execute_command("ROLE"))[0] == b"master"
                )
            )


@contextmanager
def sentinel_group(folder: Path) -> Generator[SentinelGroup]:
    """Run a master, a replica and a Sentinel, which all ask for a password."""
    # Else a master waits 5 s for more replicas before it sends its data.
    credentials = ("--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0")
    master = make_server(folder / "master", *credentials, password=PASSWORD)
    replica = make_server(
        folder / "replica", *credentials, "--replicaof", "127.0.0.1", str(master.port), password=PASSWORD
    )
    sentinel = make_server(folder / "sentinel", password=PASSWORD)
    with ExitStack() as stack:
        stack.enter_context(running(master))
        stack.enter_context(running(replica))
        with replica.client() as client:
            _wait_until(lambda: cast("list[bytes]", client.execute_command("ROLE"))[3] == b"connected")
        file = sentinel.folder / "sentinel.conf"
        file.parent.mkdir(parents=True)
        file.write_text(
            f'port {sentinel.port}\nbind 127.0.0.1\nrequirepass "{PASSWORD}"\n'
            f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
            f'sentinel auth-pass main "{PASSWORD}"\n'
            "sentinel down-after-milliseconds main 1500\nsentinel failover-timeout main 3000\n"
        )
        sentinel.arguments = (str(file), "--sentinel")
        stack.enter_context(running(sentinel))
        with sentinel.client() as client:
            _wait_until(lambda: len(cast("list[object]", client.execute_command("SENTINEL", "REPLICAS", "main"))) == 1)
        yield SentinelGroup(master=master, replica=replica, sentinel=sentinel)


@contextmanager
def cluster(folder: Path, *, password: str | None = None) -> Generator[list[Server]]:
    """Run a cluster of three masters, each with a third of the slots."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    authority = ("--masterauth", password) if password else ()
    nodes = [
        Server(
            program=find_redis(folder).program,
            folder=folder / f"node-{number}",
            port=free_port(CLUSTER_PORTS),
            arguments=(*options, *authority),
            password=password,
        )
        for number in range(3)
    ]
    with ExitStack() as stack:
        clients = [stack.enter_context(stack.enter_context(running(node)).client()) for node in nodes]
        bounds = [SLOTS * number // 3 for number in range(4)]
        for client, first, after in zip(clients, bounds, bounds[1:], strict=False):
            client.execute_command("CLUSTER", "ADDSLOTS", *range(first, after))
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", str(nodes[0].port))
        for client in clients:
            wait_for_cluster(client, nodes=3)
        yield nodes


def wait_for_cluster(node: Redis, *, nodes: int) -> None:
    """Wait until a node serves, and knows so many, itself included."""

    def is_whole() -> bool:
        info = cast("dict[str, str]", node.execute_command("CLUSTER INFO"))
        return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(nodes)

    _wait_until(is_whole)


@contextmanager
def moving_slot(slot: int, source: Server, target: Server) -> Generator[None]:
    """Move a slot of a cluster without a password, as resharding does; in the block a part is moved."""
    with source.client() as giving, target.client() as taking:
        giver, taker = (cast("bytes", one.execute_command("CLUSTER", "MYID")).decode() for one in (giving, taking))
        taking.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", giver)
        giving.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", taker)

        def move_a_key() -> bool:
            keys = cast("list[bytes]", giving.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1))
            if keys:
                giving.execute_command("MIGRATE", "127.0.0.1", target.port, keys[0], 0, 5000)
            return bool(keys)

        move_a_key()
        yield
        while move_a_key():
            pass
        for one in (taking, giving):
            one.execute_command("CLUSTER", "SETSLOT", slot, "NODE", taker)


def cluster_url(nodes: Sequence[Server], *, credentials: str = "") -> str:
    """The URL of a cluster, by all of its nodes."""
    return f"cluster://{credentials}" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)


def free_port(ports: range | None = None) -> int:
    """A port on which nobody listens, nor on that 10000 above it where it is one of `ports`."""
    # Shuffled, since tests that run beside this one look for ports too.
    for port in random.sample(ports, len(ports)) if ports else (0,):
        try:
            with socket.socket() as one, socket.socket() as other:
                one.bind(("127.0.0.1", port))
                if ports:
                    other.bind(("127.0.0.1", port + 10_000))
                return int(one.getsockname()[1])
        except OSError:
            continue
    raise RuntimeError("no port is free")


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANG
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it does not come about")
        time.sleep(0.05)


def _master_port(sentinel: Redis, service: str) -> int:
    found = cast("tuple[str, int]", sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service))
    return int(found[1])
