"""On what parts were measured."""

from collections.abc import Sequence

from benchmarks.throughput.results import Part


def where(parts: Sequence[Part]) -> str:
    """Return a sentence on the servers and the machine, of each set of parts that were measured on the same."""
    sentences = dict.fromkeys(_where(part) for part in parts)
    return " ".join(sentences)


def _where(part: Part) -> str:
    one = part.environment
    return f"Medians of {part.repeat}. {one.redis}, Python {one.python}, {one.cores} cores."
