"""The tables that the results are shown as."""

from benchmarks.retention.results import Results
from benchmarks.retention.tables.equal import equal_section
from benchmarks.retention.tables.flatness import flatness_section
from benchmarks.retention.tables.foreground import foreground_section
from benchmarks.retention.tables.indexes import index_section
from benchmarks.retention.tables.memory import memory_section
from benchmarks.retention.tables.speed import speed_section
from benchmarks.tables.section import Section


def all_sections(results: Results) -> list[Section]:
    """A section for each part that was measured."""
    found = (
        speed_section(results.speed) if results.speed else None,
        equal_section(results.equal) if results.equal else None,
        flatness_section(results.flatness) if results.flatness else None,
        foreground_section(results.foreground) if results.foreground else None,
        foreground_section(results.busy) if results.busy else None,
        memory_section(results.memory) if results.memory else None,
        index_section(results.indexes) if results.indexes else None,
    )
    return [section for section in found if section]
