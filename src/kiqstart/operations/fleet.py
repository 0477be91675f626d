"""Workers in words."""

from kiqstart.broker.fleet import WorkerView


def state_of(worker: WorkerView) -> str:
    """`alive`, `ending`, `quarantine`, or `silent` where its lease is over."""
    if not worker.is_alive:
        return "silent"
    if worker.is_ending:
        return "ending"
    return "quarantine" if worker.runs_suspects else "alive"
