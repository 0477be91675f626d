"""The parts of a worker's side of the broker, and which has to do with which."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from kiqstart.broker.delivery import interrupt_all
from kiqstart.broker.early_ack import EarlyAcks
from kiqstart.broker.fetcher import Fetcher, SuspectRule
from kiqstart.broker.heartbeat import Events, Heartbeat
from kiqstart.broker.in_flight import InFlightDeliveries
from kiqstart.broker.janitor import Janitor
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.lease import Lease
from kiqstart.broker.misfits import Misfits
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.paused_names import PausedNames
from kiqstart.broker.quarantine.condemnation import Condemnation
from kiqstart.broker.quarantine.testimony import Testimonies
from kiqstart.broker.receiver.timeout_watchdog import TimeoutWatchdog
from kiqstart.broker.reclaimer import Reclaimer
from kiqstart.broker.registrar import Registrar
from kiqstart.broker.run_record import RunRecorder
from kiqstart.broker.run_stats import RunStats
from kiqstart.broker.running import RunningReport
from kiqstart.broker.settlement import Settlement
from kiqstart.broker.settler import Settler
from kiqstart.broker.worker_load import LoadReporter, WorkerActivity
from kiqstart.redis.commands import BlockingCommands, ScriptClient
from kiqstart.tasks.sealing.secrets import Secrets

# How long a read waits for a message, where the lease allows for it. An idle worker costs Redis two commands each time.
WAIT_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class ConsumerClients:
    """The connections of a worker: for scripts, for large ones, for reads that wait, and for the lease's thread."""

    scripts: ScriptClient
    large_scripts: ScriptClient
    reader: ScriptClient
    thread: BlockingCommands


class ConsumerParts:
    """What one worker's side of the broker is made of, put together; it does nothing by itself.

    Args:
        clients: its connections.
        weights: the queues it takes, each with its weight.
        result_ttl: seconds for which results are kept; None for ever.
        rule: which suspects it takes.
        task_id_of: gives the task of a message, None where it cannot be read.
        shape_of: gives the shape of a task's function, None for a task that this worker does not have.
        secrets: encrypts what is kept of errors, and what tasks say in words.
        on_condemned: is given each task that its workers have died of, in the lease's thread.
        on_suspects: is told, in the event loop, how many suspects wait, also of queues that this worker does not take.
        on_registered: is told each name that this worker has in Redis, in the lease's thread.
        on_loss: is told there that Redis had lost data, which, and that this worker has seen to it.
        slots: how many tasks it runs at once; 0 where that is not known.
    """

    def __init__(
        self,
        clients: ConsumerClients,
        keys: QueueKeys,
        *,
        group: str,
        weights: Mapping[str, int],
        options: StreamOptions,
        result_ttl: float | None,
        rule: SuspectRule,
        task_id_of: Callable[[bytes], str | None],
        shape_of: Callable[[str], str | None],
        secrets: Secrets,
        on_condemned: Callable[[str], None],
        on_suspects: Callable[[int], None],
        on_registered: Callable[[str], None] | None,
        on_loss: Callable[[int], None],
        slots: int = 0,
    ) -> None:
        self.clients = clients
        self.keys = keys
        self.group = group
        self.options = options
        self.shape_of = shape_of
        self.in_flight = InFlightDeliveries()
        self.lease = Lease(options.lease, runs_suspects=rule is SuspectRule.WARD, on_registered=on_registered)
        self.timeout_watchdog = TimeoutWatchdog(grace=options.overrun_grace, replace=options.replace_overrun)
        thread, queues = clients.thread, list(weights)
        registrar = Registrar(thread, keys, group=group, queues=queues, lease=self.lease, slots=slots)
        settler = Settler(
            clients.scripts,
            keys,
            group=group,
            options=options,
            result_ttl=result_ttl,
            recorder=RunRecorder(registrar.to_redis_ms, secrets),
            secrets=secrets,
            large=clients.large_scripts,
        )
        self.early_acks = EarlyAcks(clients.scripts, keys, group=group, result_ttl=result_ttl)
        self.settlement = Settlement(settler, deadline=options.send_deadline)
        self.paused = PausedNames()
        misfits = Misfits(thread, keys, queues=queues, shape_of=shape_of, paused=self.paused)
        self.fetcher = Fetcher(
            clients.scripts,
            clients.large_scripts,
            clients.reader,
            keys,
            group=group,
            weights=weights,
            lease=self.lease,
            in_flight=self.in_flight,
            misfits=misfits,
            paused=self.paused,
            wait=WAIT_SECONDS,
            most_in_flight=options.in_flight_bytes,
            rule=rule,
            fleet=lambda: janitor.workers,
        )
        condemn = Condemnation(
            thread,
            keys,
            group=group,
            options=options,
            task_id_of=task_id_of,
            result_ttl=result_ttl,
            on_condemned=on_condemned,
        )
        keep = partial(registrar.keep, options.beat)
        reclaimer = Reclaimer(
            thread,
            keys,
            group=group,
            options=options,
            in_flight=self.in_flight,
            condemn=condemn,
            queues=queues,
            keep=keep,
        )
        janitor = Janitor(
            thread,
            keys,
            group=group,
            queues=queues,
            options=options,
            lease=self.lease,
            reclaimer=reclaimer,
            result_ttl=result_ttl,
            registrar=registrar,
        )
        self.testimonies = Testimonies(
            reclaimer, registrar, self.lease, queues, in_flight=self.in_flight, on_loss=on_loss
        )
        self.stats = RunStats(thread, keys, to_redis_ms=registrar.to_redis_ms)
        self.activity = WorkerActivity()
        self.heartbeat = Heartbeat(
            thread,
            keys,
            queues=queues,
            options=options,
            lease=self.lease,
            registrar=registrar,
            stats=self.stats,
            running=RunningReport(
                thread, keys, in_flight=self.in_flight, lease=self.lease, registrar=registrar, secrets=secrets
            ),
            load=LoadReporter(thread, keys, self.activity, to_redis_ms=registrar.to_redis_ms),
            in_flight=self.in_flight,
            misfits=misfits,
            reclaimer=reclaimer,
            janitor=janitor,
            timeout_watchdog=self.timeout_watchdog,
            events=Events(on_lost=interrupt_all, on_cancelled=interrupt_all, on_suspects=on_suspects),
            testimonies=self.testimonies,
        )
