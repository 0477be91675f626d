"""Who is measured, and where it is installed."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from kiqstart.app_place import project_folder


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A contestant.

    Args:
        name: what it is called.
        peer: its folder in `peers`.
        environment: the folder in `.local/benchmarks` where it is installed; None for the project's own environment.
        share: of how many times `--tasks` its runs are, so that those of a fast one take about as long as others'.
        checkout: the project whose code, benchmark's too, it runs in its own environment; None for this one.
    """

    name: str
    peer: str
    environment: str | None
    share: int = 1
    checkout: Path | None = None

    @property
    def folder(self) -> Path:
        """Where its programs run."""
        return self.checkout or project_folder()

    @property
    def interpreter(self) -> Path:
        """The Python that runs it."""
        if self.checkout is not None:
            return self.checkout / ".venv" / "bin" / "python"
        if self.environment is None:
            return Path(sys.executable)
        return project_folder() / ".local" / "benchmarks" / self.environment / "bin" / "python"


KIQSTART: Final = Installed(name="kiqstart", peer="kiqstart_peer", environment=None, share=5)
TASKIQ: Final = Installed(name="taskiq stream", peer="taskiq_peer", environment="taskiq_peer")
ALL: Final = {
    one.name: one
    for one in (
        KIQSTART,
        TASKIQ,
        Installed(name="taskiq list", peer="taskiq_peer", environment="taskiq_peer"),
        Installed(name="dramatiq", peer="dramatiq_peer", environment="dramatiq_peer"),
        Installed(name="saq", peer="saq_peer", environment="saq_peer"),
        Installed(name="streaQ", peer="streaq_peer", environment="streaq_peer"),
        Installed(name="Celery", peer="celery_peer", environment="celery_peer"),
        Installed(name="arq", peer="arq_peer", environment="arq_peer"),
    )
}


def other_checkout(folder: Path) -> Installed:
    """Kiqstart as it is in another checkout, where `make install` was run."""
    return replace(KIQSTART, name=f"{KIQSTART.name} of {folder.name}", checkout=folder)


# Plain taskiq is installed with the project, too.
TASKIQ_HERE: Final = Installed(name=TASKIQ.name, peer=TASKIQ.peer, environment=None)
# Bare loops with the commands that a durable queue cannot do without, and nothing else.
LIMITS: Final = (
    Installed(name="limit, redis-py", peer="limits_peer", environment=None, share=10),
    Installed(name="limit, hiredis", peer="limits_peer", environment=None, share=10),
)
