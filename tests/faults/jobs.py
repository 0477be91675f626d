"""Tasks that do as they are told by their calls, and those that workers of one version only can run."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, cast

from taskiq import AsyncBroker, AsyncTaskiqDecoratedTask, Context, TaskiqDepends, TaskiqResult
from tests.faults.recorder import Recorder
from typing_extensions import TypedDict

from kiqstart.tasks.label_values import RETRIES_LABEL

MAX_RETRIES: Final = "max_retries"
_SECONDS_UNTIL_RETRY: Final = 0.3
_WORDS: Final = {"TaskCancelledError": "cancelled", "WorkerLostError": "lost"} | dict.fromkeys(
    ("UnknownTaskError", "InvalidTaskArgumentsError"), "unfit"
)


class Edition(StrEnum):
    """The version of the program that a worker runs."""

    OLD = "old"
    NEW = "new"


class JobError(Exception):
    """A job fails as it was told to. Its argument names the run."""


class Orders(TypedDict):
    """What a job does.

    Args:
        seconds: how long each try takes.
        failures: how many tries fail.
        text: what it is sent: `text_of` its name.
        answers: how many characters it answers.
    """

    seconds: float
    failures: int
    text: str
    answers: int


class Answer(TypedDict):
    """What a job gives: the token of its run, and `text_of` its name."""

    run: str
    text: str


_Job = AsyncTaskiqDecoratedTask[[str, Orders], Any]
_Plain = AsyncTaskiqDecoratedTask[[str], Any]
_Grown = AsyncTaskiqDecoratedTask[[str, int], Any]


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """As the new edition has them."""

    job: _Job
    novel: _Plain
    """The old edition has no such task."""
    grown: _Grown
    """The old edition's takes no second argument."""

    @classmethod
    def register(cls, broker: AsyncBroker, recorder: Recorder, edition: Edition) -> "Jobs":
        """Register what an edition has; what it does not have cannot be called on that broker."""
        job = _register_job(broker, recorder)
        if edition is Edition.OLD:
            _register_shrunk(broker, recorder)
            return cls(job=job, novel=cast("_Plain", None), grown=cast("_Grown", None))
        return cls(job=job, novel=_register_novel(broker, recorder), grown=_register_grown(broker, recorder))


def text_of(name: str, characters: int) -> str:
    """A text that nobody else's is."""
    return (f"{name} " * (characters // (len(name) + 1) + 1))[:characters]


def outcome_of(name: str, result: TaskiqResult[Any]) -> str:
    """A task's result in a word: of which run it is, or what else became of the task."""
    error = result.error
    if error is None:
        value = result.return_value
        if isinstance(value, dict):
            answer = cast("Answer", value)
            is_whole = answer["text"] == text_of(name, len(answer["text"]))
            return f"{'ok' if is_whole else 'garbled'}:{answer['run']}"
        return f"ok:{value}"
    kind = type(error).__name__
    if kind in {"JobError", "FlakyError"}:
        return f"error:{error.args[0]}"
    return f"{_WORDS.get(kind, kind)}:"


def _register_job(broker: AsyncBroker, recorder: Recorder) -> _Job:
    async def job(name: str, orders: Orders, context: Context = TaskiqDepends()) -> Answer:
        labels = context.message.labels
        tried, most = int(labels.get(RETRIES_LABEL, 0)), int(labels.get(MAX_RETRIES, 0))
        fails = tried < orders["failures"]
        with recorder.run(name, tried=tried) as running:
            await asyncio.sleep(orders["seconds"])
            is_whole = orders["text"] == text_of(name, len(orders["text"]))
            running.how = "garbled" if not is_whole else "error" if fails else "ok"
            running.is_tried_again = fails and tried < most
        if fails:
            raise JobError(running.token)
        return {"run": running.token, "text": text_of(name, orders["answers"])}

    labels = {"retry_delay": _SECONDS_UNTIL_RETRY, "types_of_exceptions": (JobError,)}
    # Callers do not see the argument that taskiq injects.
    return cast("_Job", broker.register_task(job, task_name="job", **labels))


def _register_novel(broker: AsyncBroker, recorder: Recorder) -> _Plain:
    async def novel(name: str) -> str:
        with recorder.run(name) as running:
            await asyncio.sleep(0.1)
        return running.token

    return broker.register_task(novel, task_name="novel")


def _register_grown(broker: AsyncBroker, recorder: Recorder) -> _Grown:
    async def grown(name: str, more: int) -> str:
        with recorder.run(name) as running:
            await asyncio.sleep(0.1 * more)
        return running.token

    return broker.register_task(grown, task_name="grown")


def _register_shrunk(broker: AsyncBroker, recorder: Recorder) -> None:
    async def grown(name: str) -> str:
        with recorder.run(name) as running:
            await asyncio.sleep(0.1)
        return running.token

    broker.register_task(grown, task_name="grown")
