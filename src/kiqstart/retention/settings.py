"""How considerate a clean-up is."""

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from kiqstart.retention.ceilings import lower
from kiqstart.retention.policy import PaceKind, RetentionPolicy


class RetentionSettings(BaseModel):
    """What holds for all policies of an engine. Times are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pace: PaceKind = Field(
        default=PaceKind.GENTLE,
        description="`gentle`: a run rests so that others do not notice it; `full`: as fast as it can.",
    )
    batch_seconds: float = Field(
        default=0.1,
        gt=0,
        le=10,
        description="Seconds that a batch, one transaction, should take; its size follows.",
    )
    batch_rows: int = Field(
        default=200_000,
        ge=1,
        le=10_000_000,
        description="Rows that a batch may have at most; on average, where it goes by pages.",
    )
    pause: float = Field(default=0, ge=0, le=60, description="Seconds to rest after each batch.")
    rows_per_second: int | None = Field(default=None, ge=1, description="Rows that a run may delete in a second.")
    lock_timeout: float = Field(
        default=0.05,
        gt=0,
        le=10,
        description="Seconds that a batch waits for somebody else's lock; then it passes over the locked rows.",
    )
    locked_wait: float = Field(
        default=5, ge=0, le=3600, description="Seconds at the end of a run in which rows that were locked are retried."
    )
    reconnect_wait: float = Field(
        default=300, ge=0, description="Seconds that a run waits for PostgreSQL to come back before it fails."
    )
    takeover_after: float = Field(
        default=15,
        ge=1,
        validate_default=True,
        description="Seconds without a sign of life after which another worker goes on with a run.",
    )
    max_replica_lag: float = Field(
        default=10, gt=0, description="Seconds that the slowest replica may lag behind before a run waits for it."
    )
    max_lock_waiters: int = Field(
        default=20, ge=1, description="Other connections that may wait for locks in this database before a run waits."
    )

    ignored_replicas: list[str] = Field(
        default=[],
        description="Replicas that no run waits for, by their `application_name`, as a JSON list: delayed ones, say.",
    )
    max_wait: float = Field(
        default=3600,
        ge=0,
        description="Seconds that a run waits in one go for replicas, lock queues or a locked table before it ends.",
    )
    max_failures: int = Field(
        default=10_000, ge=1, description="Rows that a run finds undeletable before it ends; of a shard, each."
    )
    retry_failed_after: float = Field(
        default=259_200,
        ge=0,
        description="Seconds for which rows that could not be deleted are left alone by the runs that follow.",
    )

    @field_validator("takeover_after")
    @classmethod
    def _is_longer_than_a_rest(cls, value: float, info: ValidationInfo) -> float:
        if value <= info.data.get("pause", 0):
            raise ValueError("must be above the pause, or a resting run is taken over")
        return value

    def for_policy(self, policy: RetentionPolicy) -> "RetentionSettings":
        """Return the settings for a policy's runs: its own pace, and the lower of the ceilings."""
        ceilings = policy.ceilings
        own = {
            "pace": policy.pace or self.pace,
            "batch_seconds": lower(self.batch_seconds, ceilings.batch_seconds),
            "batch_rows": lower(self.batch_rows, ceilings.batch_rows),
            "rows_per_second": lower(self.rows_per_second, ceilings.rows_per_second),
        }
        return self.model_copy(update=own)

    @property
    def statement_timeout(self) -> float:
        """Seconds after which a batch is given up and made smaller, as a first try."""
        return 2 * self.batch_seconds
