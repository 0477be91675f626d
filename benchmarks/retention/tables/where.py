"""On what a part was measured."""

from benchmarks.retention.results import Part


def where(part: Part) -> str:
    """Return a sentence on the rows, the servers and the machine."""
    environment = part.environment
    settings = ", ".join(f"{name} {value}" for name, value in environment.settings.items())
    return (
        f"{part.rows:,} rows to delete among as many to keep; medians of {part.repeat} (least to most). "
        f"{environment.database}, {environment.redis}, Python {environment.python}, {environment.cores} cores; "
        f"{settings}; the measured tables without autovacuum."
    )
