"""How tasks are kept in Redis and delivered."""

import re
from dataclasses import fields
from typing import Annotated, Any, Final, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.options import StreamOptions
from kiqstart.tasks.queue_names import LONGEST_QUEUE_NAME, queue_name_problem
from kiqstart.tasks.sealing.keyring import Keyring
from kiqstart.tasks.sealing.sealing import Sealing
from kiqstart.tasks.sizes import LARGEST_BYTES

_KEY_PREFIX: Final = re.compile(r"[A-Za-z0-9_.:-]+")
_QUEUE: Final = re.compile(r"([A-Za-z0-9_.-]+)(?::([1-9][0-9]{0,5}))?")
_SHOWN: Final = 50
_DEFAULTS: Final = StreamOptions()
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TasksSettings(BaseSettings):
    """Environment variables of the task queue."""

    model_config = SettingsConfigDict(env_file=".env", env_prefix="TASKS_", extra="ignore")

    key_prefix: str = Field(
        default="kiqstart",
        max_length=LONGEST_QUEUE_NAME,
        description="What every key in Redis begins with, in braces: {kiqstart}. Letters, digits and _ . : - only. "
        "Services that share a Redis need one each.",
    )
    result_ttl: int = Field(default=3600, gt=0, description="Seconds for which a result is kept.")
    queues: str = Field(
        default="default",
        description="The queues that a worker takes, each with its weight: default:3,low:1. Without a weight it is 1.",
    )
    lease: float = Field(
        default=_DEFAULTS.lease,
        ge=1.0,
        allow_inf_nan=False,
        description="Seconds without a sign of life after which a worker's tasks are given to others.",
    )
    max_deliveries: int = Field(
        default=_DEFAULTS.max_deliveries,
        ge=1,
        description="Worker crashes a task may be involved in before it is dead-lettered.",
    )
    quarantine: bool = Field(
        default=_DEFAULTS.quarantine,
        description="Whether a worker starts a process of its own for tasks whose workers have died repeatedly.",
    )
    send_deadline: Seconds = Field(
        default=_DEFAULTS.send_deadline,
        description="Seconds for which a send is tried while Redis is away, before it fails.",
    )
    dead_letter_age: Seconds = Field(
        default=_DEFAULTS.dead_letter_age, description="Seconds for which a dead letter is kept."
    )
    dead_letter_limit: int = Field(
        default=_DEFAULTS.dead_letter_limit,
        ge=1,
        description="How many dead letters are kept; beyond it the oldest are dropped.",
    )
    dead_letter_bytes: int = Field(
        default=_DEFAULTS.dead_letter_bytes,
        ge=1,
        description="How many bytes of Redis' memory dead letters may take, about.",
    )
    runs_kept: int = Field(
        default=_DEFAULTS.runs_kept,
        ge=0,
        description="How many ended runs are kept, to be looked at: so many that failed, and so many others. 0: none.",
    )
    runs_age: Seconds = Field(
        default=_DEFAULTS.runs_age,
        description="Seconds for which an ended run is kept; one that failed seven times as long.",
    )
    runs_bytes: int = Field(
        default=_DEFAULTS.runs_bytes,
        ge=1,
        description="How many bytes of Redis' memory ended runs may take together, about.",
    )
    run_log_bytes: int = Field(
        default=_DEFAULTS.run_log_bytes,
        ge=0,
        le=LARGEST_BYTES,
        description="How many bytes are kept of what a run has logged, the last lines of it. 0: none. At most "
        "67108864.",
    )
    message_bytes: int = Field(
        default=_DEFAULTS.message_bytes,
        ge=1,
        le=LARGEST_BYTES,
        description="How many bytes a task's message may have, its arguments included. A larger one is not sent, and a "
        "worker makes a dead letter of it. At most 67108864.",
    )
    result_bytes: int = Field(
        default=_DEFAULTS.result_bytes,
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
        default=_DEFAULTS.in_flight_bytes,
        ge=1,
        description="How much memory the messages and results may take, about, that a worker has in flight; then it "
        "reads no more until a task has ended.",
    )
    tracing: bool = Field(
        default=False,
        description="Whether sends and runs are traced with OpenTelemetry, by each process' tracer provider; "
        "kiqstart[opentelemetry] brings what that needs.",
    )
    misfit_grace: Seconds = Field(
        default=_DEFAULTS.misfit_grace,
        description="Seconds without any worker that may run it after which a task is a dead letter that a worker did "
        "not know, or whose arguments did not fit; never less than two leases, whatever is set.",
    )
    hook_timeout: Seconds = Field(
        default=_DEFAULTS.hook_timeout,
        description="Seconds that one hook of a middleware may take when a task runs; then it is cut off.",
    )
    overrun_grace: Seconds = Field(
        default=_DEFAULTS.overrun_grace,
        description="Seconds beyond its timeout after which a task that cannot be interrupted is reported.",
    )
    replace_overrun: bool = Field(
        default=_DEFAULTS.replace_overrun,
        description="Whether the worker process of such a task is then replaced; its other tasks are given back.",
    )

    signing_keys: SecretStr | None = Field(
        default=None,
        description="Keys with which messages are signed: id:key,id:key, each key 32 random bytes as base64. The "
        "first one signs, all verify.",
    )
    signing_required: bool = Field(
        default=True,
        description="Whether a message without a signature is refused where there are keys; false while not all "
        "senders have them.",
    )
    encryption_keys: SecretStr | None = Field(
        default=None,
        description="Keys with which arguments, results and errors' texts are encrypted, written like signing keys, "
        "which it needs as well. The first one encrypts, all decrypt.",
    )
    encrypt: bool = Field(
        default=True,
        description="Whether what is new is encrypted where there are keys; false while not all processes have them.",
    )

    @field_validator("signing_keys", "encryption_keys")
    @classmethod
    def _check_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        Keyring(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _check_signed(self) -> Self:
        if self.encryption_keys is not None and self.signing_keys is None:
            raise ValueError("TASKS_ENCRYPTION_KEYS needs TASKS_SIGNING_KEYS too: what is not signed can be replaced")
        return self

    @field_validator("key_prefix")
    @classmethod
    def _check_key_prefix(cls, value: str) -> str:
        if not _KEY_PREFIX.fullmatch(value):
            raise ValueError("has letters, digits and _ . : - only, and at least one of them")
        return value

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
    def sealing(self) -> Sealing | None:
        """With which keys messages are signed and encrypted; None: with none."""
        if self.signing_keys is None:
            return None
        return Sealing(
            signing_keys=self.signing_keys.get_secret_value(),
            encryption_keys="" if self.encryption_keys is None else self.encryption_keys.get_secret_value(),
            is_required=self.signing_required,
            encrypts=self.encrypt,
        )

    @property
    def stream_options(self) -> StreamOptions:
        """How the broker delivers."""
        names = {one.name for one in fields(StreamOptions)} & type(self).model_fields.keys()
        given: dict[str, Any] = {name: getattr(self, name) for name in names}
        given["queue_limit"] = self.queue_limit or None
        return StreamOptions(**given)


def parse_queues(text: str) -> dict[str, int]:
    """Queues and weights of a text such as `default:3,low:1`.

    Raises:
        ValueError: it is none.
    """
    weights: dict[str, int] = {}
    for part in text.split(","):
        found = _QUEUE.fullmatch(part.strip())
        if found is None or found[1] in weights:
            raise ValueError(f"{part.strip()[:_SHOWN]!r} is no queue, or stands twice: write default:3,low:1")
        if problem := queue_name_problem(found[1]):
            raise ValueError(f"{found[1][:_SHOWN]!r}: {problem}")
        weights[found[1]] = int(found[2] or 1)
    return weights
