"""What a worker of the suite is told by its environment."""

from pathlib import Path
from typing import Final

from pydantic_settings import BaseSettings, SettingsConfigDict
from tests.faults.jobs import Edition

PREFIX: Final = "FAULTS_"


class WorkerSettings(BaseSettings):
    """The broker that a worker runs, and the file that its tasks record themselves in."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    redis_url: str
    queue: str
    records: Path
    lease: float = 5.0
    """Seconds after which an entry that nobody renewed is given to another worker."""
    max_deliveries: int = 3
    misfit_grace: float = 60.0
    """Seconds for which a task that does not fit is left to others."""
    result_ttl: float = 600.0
    """Seconds for which results are kept: longer than any scenario takes, where nothing else is said."""
    edition: Edition = Edition.NEW

    def environment(self) -> dict[str, str]:
        """Give the variables that make a worker read these very settings."""
        return {f"{PREFIX}{name}".upper(): str(value) for name, value in self.model_dump().items()}
