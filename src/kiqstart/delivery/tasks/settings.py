"""How tasks are kept in Redis."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class TasksSettings(BaseSettings):
    """Environment variables of the task queue."""

    model_config = SettingsConfigDict(env_file=".env", env_prefix="TASKS_", extra="ignore")

    key_prefix: str = Field(
        default="kiqstart",
        pattern=r"^[A-Za-z0-9_.:-]+$",
        description="What every key in Redis begins with: letters, digits and _ . : - only. "
        "Services that share a Redis need one each.",
    )
    result_ttl: int = Field(default=3600, gt=0, description="Seconds for which a result is kept.")

    @property
    def queue(self) -> str:
        """Key of the stream of tasks. The braces keep all keys of one prefix on one node of a Redis Cluster."""
        return f"{{{self.key_prefix}}}:tasks"

    @property
    def results(self) -> str:
        """Prefix of the keys of results and progress."""
        return f"{{{self.key_prefix}}}:result"

    @property
    def occurrences(self) -> str:
        """Prefix of the keys that mark an occurrence of a schedule as sent."""
        return f"{{{self.key_prefix}}}:occurrence"
