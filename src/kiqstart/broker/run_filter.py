"""Which runs are looked for: of those that have ended, or of tasks that have not."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from kiqstart.broker.argument_values import ArgumentValues
from kiqstart.broker.run_decoding import Run
from kiqstart.broker.run_names import NamedRun
from kiqstart.broker.run_stats import Outcome
from kiqstart.observability.redaction import redact


class Described(Protocol):
    """What is known of a run, whether it has ended or not."""

    @property
    def task_id(self) -> str | None:
        """Its task's id."""
        ...

    @property
    def task(self) -> str | None:
        """Its task's name."""
        ...

    @property
    def queue(self) -> str:
        """Its queue."""
        ...

    @property
    def arguments(self) -> str:
        """Its arguments, as they are shown."""
        ...

    @property
    def values(self) -> ArgumentValues:
        """The values of its arguments."""
        ...

    @property
    def worker(self) -> str:
        """Its worker's name."""
        ...

    @property
    def host(self) -> str:
        """Its worker's host."""
        ...


def no_parameters(_: str) -> Sequence[str]:
    """The parameters of tasks that are not known."""
    return ()


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """Which runs are looked for; all that is not None has to fit.

    Args:
        task_id: the task's id.
        task: the task's name.
        since: runs that ended then or later.
        text: is in the id, the task's name, the arguments, the result, the error, what it has logged, or the worker's
            name or host, in capitals or not.
        arguments: values of arguments, by name, as JSON has them: 7 is a number, also 7.0, and "7" a text. Of a run
            whose arguments are not kept whole, or are encrypted, none is known.
        parameters: gives the names of a task's parameters, in order, by which arguments are known that were handed in
            by their place; without it, only those are found that were handed in by name.
    """

    task_id: str | None = None
    task: str | None = None
    outcome: Outcome | None = None
    queue: str | None = None
    since: datetime | None = None
    text: str | None = None
    arguments: Mapping[str, object] = field(default_factory=dict[str, object])
    parameters: Callable[[str], Sequence[str]] = field(default=no_parameters, repr=False)

    def fits(self, run: Run) -> bool:
        """Whether a run is one of them."""
        return (
            self.outcome in (None, run.outcome)
            and (self.since is None or run.ended >= self.since)
            and self.fits_described(run, (run.result, run.error, run.traceback, run.log))
        )

    def fits_named(self, run: NamedRun) -> bool:
        """Whether a run may be one of them, by all but its text and arguments."""
        return (
            self.outcome in (None, run.outcome)
            and (self.since is None or run.ended >= self.since)
            and self.task_id in (None, run.task_id)
            and self.task in (None, run.task)
            and self.queue in (None, run.queue)
        )

    @property
    def is_by_names(self) -> bool:
        """Whether names suffice to tell which runs fit."""
        return self.text is None and not self.arguments

    def fits_described(self, one: Described, texts: Iterable[str | None] = ()) -> bool:
        """Whether a run is one of them, by what is known of each, ended or not, and by further texts of it."""
        return (
            self.task_id in (None, one.task_id)
            and self.task in (None, one.task)
            and self.queue in (None, one.queue)
            and (not self.arguments or self._has_arguments(one))
            and (
                self.text is None
                or _have_text((one.task_id, one.task, one.arguments, one.worker, one.host, *texts), self.text)
            )
        )

    def _has_arguments(self, one: Described) -> bool:
        parameters = self.parameters(one.task or "")
        return all(one.values.have(name, value, parameters) for name, value in self.arguments.items())


def _have_text(texts: Iterable[str | None], text: str) -> bool:
    """Whether it is in what is shown of a run, in capitals or not; in the rest, a search would tell secrets."""
    wanted = text.casefold()
    return any(one and wanted in one.casefold() and wanted in redact(one).casefold() for one in texts)
