"""How tasks are kept in Redis and delivered."""

import re
from typing import Final

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.options import StreamOptions
from kiqstart.tasks.sizes import DEFAULT_BYTES, LARGEST_BYTES, MIB

_QUEUE: Final = re.compile(r"([A-Za-z0-9_.-]+)(?::([1-9][0-9]{0,5}))?")


class TasksSettings(BaseSettings):
    """Environment variables of the task queue."""

    model_config = SettingsConfigDict(env_file=".env", env_prefix="TASKS_", extra="ignore")

    key_prefix: str = Field(
        default="kiqstart",
        pattern=r"^[A-Za-z0-9_.:-]+$",
        description="What every key in Redis begins with, in braces: {kiqstart}. Letters, digits and _ . : - only. "
        "Services that share a Redis need one each.",
    )
    result_ttl: int = Field(default=3600, gt=0, description="Seconds for which a result is kept.")
    queues: str = Field(
        default="default",
        description="The queues that a worker takes, each with its weight: default:3,low:1. Without a weight it is 1.",
    )
    lease: float = Field(
        default=5.0,
        ge=1.0,
        allow_inf_nan=False,
        description="Seconds without a sign of life after which a worker's tasks are given to others.",
    )
    max_deliveries: int = Field(
        default=3, ge=1, description="Worker crashes a task may be involved in before it is dead-lettered."
    )
    quarantine: bool = Field(
        default=True,
        description="Whether a worker starts a process of its own for tasks whose workers have died repeatedly.",
    )
    send_deadline: float = Field(
        default=30.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds for which a send is tried while Redis is away, before it fails.",
    )
    dead_letter_age: float = Field(
        default=7 * 24 * 3600.0, gt=0, allow_inf_nan=False, description="Seconds for which a dead letter is kept."
    )
    dead_letter_limit: int = Field(
        default=10_000, ge=1, description="How many dead letters are kept; beyond it the oldest are dropped."
    )
    dead_letter_bytes: int = Field(
        default=256 * 1024 * 1024, ge=1, description="How many bytes of Redis' memory dead letters may take, about."
    )
    message_bytes: int = Field(
        default=DEFAULT_BYTES,
        ge=1,
        le=LARGEST_BYTES,
        description="How many bytes a task's message may have, its arguments included. A larger one is not sent, and a "
        "worker makes a dead letter of it. At most 67108864.",
    )
    result_bytes: int = Field(
        default=DEFAULT_BYTES,
        ge=1,
        le=LARGEST_BYTES,
        description="How many bytes a result may have; a task that returns more has failed. At most 67108864.",
    )
    queue_limit: int = Field(
        default=0,
        ge=0,
        description="How many tasks a queue may hold, waiting and running, and how many may be delayed; then sends "
        "fail. 0 for any number.",
    )
    in_flight_bytes: int = Field(
        default=64 * MIB,
        ge=1,
        description="How much memory the messages and results may take, about, that a worker has in flight; then it "
        "reads no more until a task has ended.",
    )
    misfit_grace: float = Field(
        default=60.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds without any worker that may run it after which a task is a dead letter that a worker did "
        "not know, or whose arguments did not fit.",
    )
    hook_timeout: float = Field(
        default=60.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds that one hook of a middleware may take when a task runs; then it is cut off.",
    )
    overrun_grace: float = Field(
        default=10.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds beyond its timeout after which a task that cannot be interrupted is reported.",
    )
    replace_overrun: bool = Field(
        default=False,
        description="Whether the worker process of such a task is then replaced; its other tasks are given back.",
    )

    @field_validator("queues")
    @classmethod
    def _check_queues(cls, value: str) -> str:
        parse_queues(value)
        return value

    @property
    def queue(self) -> str:
        """Key of the stream of tasks. The braces keep all keys of one prefix on one node of a Redis Cluster."""
        return f"{{{self.key_prefix}}}:tasks"

    @property
    def results(self) -> str:
        """Prefix of the keys of results and progress."""
        return f"{{{self.key_prefix}}}:result"

    @property
    def keys(self) -> QueueKeys:
        """All names in Redis."""
        return QueueKeys(self.queue, results=self.results)

    @property
    def weights(self) -> dict[str, int]:
        """The queues that a worker takes, each with its weight."""
        return parse_queues(self.queues)

    @property
    def stream_options(self) -> StreamOptions:
        """How the broker delivers."""
        return StreamOptions(
            lease=self.lease,
            max_deliveries=self.max_deliveries,
            quarantine=self.quarantine,
            send_deadline=self.send_deadline,
            dead_letter_age=self.dead_letter_age,
            dead_letter_limit=self.dead_letter_limit,
            dead_letter_bytes=self.dead_letter_bytes,
            message_bytes=self.message_bytes,
            result_bytes=self.result_bytes,
            queue_limit=self.queue_limit or None,
            in_flight_bytes=self.in_flight_bytes,
            misfit_grace=self.misfit_grace,
            hook_timeout=self.hook_timeout,
            overrun_grace=self.overrun_grace,
            replace_overrun=self.replace_overrun,
        )


def parse_queues(text: str) -> dict[str, int]:
    """Queues and weights of a text such as `default:3,low:1`.

    Raises:
        ValueError: it is none.
    """
    weights: dict[str, int] = {}
    for part in text.split(","):
        found = _QUEUE.fullmatch(part.strip())
        if found is None or found[1] in weights:
            raise ValueError(f"{part.strip()!r} is no queue, or stands twice: write default:3,low:1")
        weights[found[1]] = int(found[2] or 1)
    return weights
