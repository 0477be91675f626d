"""The names that a queue's data has in Redis."""

import re
from collections.abc import Iterable
from typing import Final

from redis.crc import key_slot

from kiqstart.tasks.labels import DEFAULT_QUEUE
from kiqstart.tasks.queue_names import queue_name_problem
from kiqstart.tasks.task_ids import PROGRESS_SUFFIX

_HASH_TAG: Final = re.compile(r"\{[^}]+\}")


class QueueKeys:
    """All keys of one broker. They share a hash tag, so that scripts may use them together on a cluster.

    Args:
        name: key of the stream of the default queue, as taskiq-redis' `queue_name`. Where it holds no `{tag}`, the keys
            beside it begin with `{name}`, which hashes as the name itself does.
        results: what the keys of results begin with; None for a name of the queue's own.
        database: number of the database, which channels do not have.
    """

    def __init__(self, name: str, results: str | None = None, *, database: int = 0) -> None:
        self.name = name
        self._base = name if _HASH_TAG.search(name) else f"{{{name}}}"
        self.workers = f"{self._base}:workers"
        # The names that registered last, also of those that are gone.
        self.registered = f"{self._base}:workers:registered"
        # Who is registered in older data with which Redis came back, and has not seen to that yet.
        self.restored = f"{self._base}:workers:restored"
        self.epoch = f"{self._base}:epoch"
        self.queues = f"{self._base}:queues"
        # Those that messages were sent to and no worker takes.
        self.untaken = f"{self._base}:queues:untaken"
        # Of all queues: what was left to other workers, and by when some worker last said that it may take it.
        self.misfit_index = f"{self._base}:misfits:index"
        self.misfits_known = f"{self._base}:misfits:known"
        self.delayed = f"{self._base}:delayed"
        self.delayed_messages = f"{self._base}:delayed:messages"
        self.dead = f"{self._base}:dead"
        self.dropped = f"{self._base}:dead:dropped"
        # How runs have ended, in the last hours; failed ones apart, so that they outlive the others.
        self.runs = f"{self._base}:runs"
        self.failed_runs = f"{self._base}:runs:failed"
        # How many there ever were.
        self.run_counts = f"{self._base}:runs:counts"
        # Which of the failed ones were sent again.
        self.resent_runs = f"{self._base}:runs:resent"
        self.cancelled = f"{self._base}:cancelled"
        # Deliveries that were acknowledged before they ran.
        self.early = f"{self._base}:early"
        # Which send of an id that others have had the result belongs to.
        self.latest = f"{self._base}:latest"
        self.uniques = f"{self._base}:unique"
        self.places = f"{self._base}:unique:places"
        self.janitor = f"{self._base}:janitor"
        self.draining = f"{self._base}:workers:draining"
        self.quarantine_claim = f"{self._base}:quarantine"
        self.worker_info = f"{self._base}:workers:info"
        self.running = f"{self._base}:workers:running"
        # Who died, where, and what it ran.
        self.lost_workers = f"{self._base}:workers:lost"
        self.layout = f"{self._base}:layout"
        self.group = f"{self._base}:group"
        self.schedules = f"{self._base}:schedules"
        self.stats = f"{self._base}:stats"
        self.schedule_stats = f"{self.stats}:schedules"
        self.retention_stats = f"{self.stats}:retention"
        self.probe = f"{self._base}:probe"
        # What operators did, and what they have paused.
        self.acts = f"{self._base}:acts"
        self.paused = f"{self._base}:paused"
        self._results = results or f"{self._base}:result"
        # In the order of library.lua's `shared_keys`: what every script takes that moves messages.
        self.shared = (
            *(self.uniques, self.places, self.delayed, self.delayed_messages),
            *(self.cancelled, self.dead, self.dropped),
        )
        # Older versions announce on the key's own name.
        self.channel_suffix = f"@db{database}" if database else ""

    @property
    def result_prefix(self) -> str:
        """What the key of a result has before the task's id."""
        return f"{self._results}:"

    @property
    def queue_prefix(self) -> str:
        """What the keys of all queues but the default one begin with."""
        return f"{self._base}:queue:"

    @property
    def tag(self) -> str:
        """What the keys have in common, without its braces: the key prefix of a service."""
        found = _HASH_TAG.search(self._base)
        return found[0][1:-1] if found else self._base

    @property
    def patterns(self) -> list[str]:
        """What an ACL calls the queue's own keys; results are kept elsewhere, if the broker's arguments say so."""
        base = f"{self._base}*"
        return [base] if self.name.startswith(self._base) else [self.name, base]

    @property
    def share_a_slot(self) -> bool:
        """Whether a cluster keeps all keys on one node, results too, as the scripts need it."""
        keys = (self.name, self.workers, self.result("one"), self.result("another"))
        return len({key_slot(key.encode()) for key in keys}) == 1

    def stream(self, queue: str) -> str:
        """Where a queue's new messages are; the key of the default queue's stream is a name of that queue too."""
        return self.name if self._is_default(queue) else f"{self.queue_prefix}{queue}"

    def names_of(self, queues: Iterable[str]) -> set[str]:
        """Queues, each by its one name."""
        return {DEFAULT_QUEUE if self._is_default(queue) else queue for queue in queues}

    def queue_of(self, stream: str) -> str:
        """The queue of a stream that `stream` gives."""
        return DEFAULT_QUEUE if stream == self.name else stream.removeprefix(self.queue_prefix)

    def is_queue(self, stream: str) -> bool:
        """Whether it is the stream of a queue's new messages, as `stream` gives it."""
        name = stream.removeprefix(self.queue_prefix)
        return stream == self.name or (name != stream and queue_name_problem(name) is None)

    def returned(self, queue: str) -> str:
        """Where a queue's messages are that were given back: the next worker takes them first."""
        return f"{self._prefix(queue)}:returned"

    def suspects(self, queue: str) -> str:
        """Where a queue's messages are whose workers have died repeatedly."""
        return f"{self._prefix(queue)}:suspects"

    def isolated(self, queue: str) -> str:
        """Where a queue's suspects are that went down with a quarantine process: next, each runs alone."""
        return f"{self._prefix(queue)}:isolated"

    def quarantine(self, queue: str) -> tuple[str, str]:
        """The streams of suspects."""
        return self.isolated(queue), self.suspects(queue)

    def streams(self, queue: str) -> tuple[str, str, str, str]:
        """The streams of a queue in the order in which they are read."""
        return *self.quarantine(queue), self.returned(queue), self.stream(queue)

    def misfits(self, queue: str) -> str:
        """Where a queue's messages are that a worker has left to others; nobody reads it, they are taken one by one."""
        return f"{self._prefix(queue)}:misfits"

    def locations(self, queue: str) -> tuple[str, ...]:
        """Where a queue's messages may be, but for delayed ones."""
        *others, stream = self.streams(queue)
        return *others, self.misfits(queue), stream

    def all_streams(self, queues: Iterable[str]) -> list[str]:
        """The streams of several queues."""
        return [stream for queue in queues for stream in self.streams(queue)]

    def all_locations(self, queues: Iterable[str]) -> list[str]:
        """Where messages of several queues may be."""
        return [one for queue in queues for one in self.locations(queue)]

    def sender(self, sender: str) -> str:
        """Which batch of a sender came last."""
        return f"{self._base}:sender:{sender}"

    def stats_of_hour(self, now_ms: int) -> str:
        """What was counted within an hour of Redis' time."""
        return f"{self.stats}:hour:{now_ms // 3_600_000}"

    def stats_of_minute(self, now_ms: int) -> str:
        """What was counted within a minute of Redis' time."""
        return f"{self.stats}:minute:{now_ms // 60_000}"

    def stats_batch(self, process: str) -> str:
        """Which batch of a process' counts came last."""
        return f"{self.stats}:batch:{process}"

    def worker_load(self, worker: str) -> str:
        """How busy a worker is."""
        return f"{self.workers}:load:{worker}"

    def result(self, task_id: str) -> str:
        """A task's result; with `channel_suffix`, the channel on which it is announced."""
        return f"{self._results}:{task_id}"

    def progress(self, task_id: str) -> str:
        """A task's progress."""
        return f"{self.result(task_id)}{PROGRESS_SUFFIX}"

    def _prefix(self, queue: str) -> str:
        return self._base if self._is_default(queue) else f"{self.queue_prefix}{queue}"

    def _is_default(self, queue: str) -> bool:
        return queue in (DEFAULT_QUEUE, self.name)


def pattern_of(key: str) -> str:
    """What an ACL calls a key and all that share its hash tag: `{name}*`; without a tag, the key itself."""
    tag = _HASH_TAG.search(key)
    return key if tag is None else f"{key[: tag.end()]}*"
