"""Which tasks are sent again after a failed run, and why one is not."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from kiqstart.app import App
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.later_runs import with_later_runs
from kiqstart.broker.named_walks import walk_named
from kiqstart.broker.queued_tasks import QueuedTasks
from kiqstart.broker.run_decoding import Run
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.run_index import RunIndex
from kiqstart.broker.run_names import NamedRun
from kiqstart.broker.run_resender import RunNotResentError
from kiqstart.broker.run_stats import Outcome
from kiqstart.broker.runs import walk_runs
from kiqstart.broker.task_search import which_have_not_ended
from kiqstart.broker.whereabouts import Place, Whereabouts
from kiqstart.operations.dead_selection import SelectionError
from kiqstart.operations.run_selection import by_parameters, which_runs
from kiqstart.operations.runs import read_history

# Where a task is counts for more here than a quick answer.
_SECONDS_BEFORE_AN_ACT: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class FailedRuns:
    """The last runs of tasks, where these have failed, and what narrows them.

    Args:
        since: an age such as `1h`: those that ended so long ago at most.
        text: as `kiqstart runs list` takes it.
        arguments: likewise.
    """

    task: str | None = None
    queue: str | None = None
    since: str | None = None
    text: str | None = None
    arguments: Sequence[str] = ()

    @property
    def are_given(self) -> bool:
        """Whether anything narrows them."""
        return bool(self.arguments) or (self.task, self.queue, self.since, self.text) != (None, None, None, None)

    @property
    def described(self) -> str:
        """Which they are: `all whose last run failed, of 'ping', in the queue 'mail', within 1h`."""
        words = "all whose last run failed"
        for word, value in (("of", self.task), ("in the queue", self.queue), ("with the text", self.text)):
            if value is not None:
                words += f", {word} {value!r}"
        if self.arguments:
            words += f", with {' and '.join(self.arguments)}"
        return words if self.since is None else f"{words}, within {self.since}"

    @property
    def which(self) -> RunFilter:
        """The filter.

        Raises:
            SelectionError: there is no such age, or it is not clear which arguments are meant.
        """
        return which_runs(
            task=self.task,
            outcome=Outcome.FAILED,
            queue=self.queue,
            text=self.text,
            since=self.since,
            arguments=self.arguments,
        )

    def check(self, task_ids: Sequence[str], *, every: bool) -> None:
        """Check that either ids are given, or --all or what narrows it, which makes sense.

        Raises:
            SelectionError: it is not so.
        """
        if bool(task_ids) == (every or self.are_given):
            raise SelectionError(
                "name tasks by their ids, or choose them with --task, --queue, --since, --text or --argument, "
                "or take --all"
            )
        _ = self.which

    async def runs(
        self, broker: StreamBroker, *, index: RunIndex | None = None, queued: QueuedTasks | None = None
    ) -> list[NamedRun]:
        """Those that fit, oldest first; none that was sent again, or whose task waits or runs.

        Args:
            broker: whose runs.
            index: for who asks often.
            queued: likewise; where a task is, is then known as far as the queues were only added to and taken from.

        Raises:
            SelectionError: as `which` does.
            RedisError: Redis is away.
        """
        which, last = by_parameters(self.which, broker), dict[str, NamedRun]()
        redis, keys = broker.connection.redis, broker.keys
        # A later run of a task may have ended in another way, in another queue, and with another text or arguments.
        async with aclosing(walk_named(redis, keys.failed_runs, since=which.since, index=index)) as pages:
            async for page in pages:
                for run in page:
                    if run.task_id is not None:
                        last.setdefault(run.task_id, run)
        resent = await broker.run_resender.resent()
        found = {name: run for name, run in last.items() if which.fits_named(run) and run.id not in resent}
        if found and not which.is_by_names:
            async with aclosing(walk_runs(redis, keys, which, broker.secrets, index)) as fitting:
                ids = {run.id async for run in fitting}
            found = {name: run for name, run in found.items() if run.id in ids}
        later = await with_later_runs(redis, keys, {name: run.ended for name, run in found.items()}, index=index)
        there = await which_have_not_ended(broker, found.keys() - later, queued=queued)
        return [run for name, run in found.items() if name not in there | later][::-1]


async def last_failed_run(broker: StreamBroker, task_id: str) -> Run:
    """The last run of a task that has failed and is over.

    Raises:
        UnknownRunError: nothing is known of it.
        RunNotResentError: it has not ended, or in another way.
        RedisError: Redis is away.
    """
    history = await read_history(broker, task_id, seconds=_SECONDS_BEFORE_AN_ACT)
    if history.now is not None:
        raise RunNotResentError(task_id, f"it has not ended: it {_where(history.now)}")
    run = history.runs[0]
    if run.outcome is Outcome.DEAD:
        raise RunNotResentError(
            task_id, "it is a dead letter: `kiqstart dead show` with this id says which, `kiqstart dead retry` sends it"
        )
    if run.outcome is not Outcome.FAILED:
        raise RunNotResentError(task_id, f"its last run has not failed, but {_ENDED[run.outcome]}")
    return run


async def resend(app: App, broker: StreamBroker, run: Run | NamedRun) -> None:
    """Send a failed run's task again.

    Raises:
        RunNotResentError: the application has no such task any more, or `RunResender.resend` says why.
        RedisError: Redis is away.
    """
    # Without a registry, nobody knows whether all tasks were imported here.
    if app.registry is not None and broker.find_task(run.task or "") is None:
        raise RunNotResentError(run.task_id, f"this application has no task {run.task or ''!r:.100} any more")
    await broker.run_resender.resend(run)


_ENDED = {
    Outcome.SUCCEEDED: "succeeded",
    Outcome.CANCELLED: "was cancelled",
    Outcome.RETRIED: "is to be tried again",
}


def _where(now: Whereabouts) -> str:
    if now.place is Place.DELAYED:
        return "is delayed"
    if now.place is Place.WAITING:
        return f"waits in the queue {now.queue!r}"
    return f"runs in the worker {now.worker}"
