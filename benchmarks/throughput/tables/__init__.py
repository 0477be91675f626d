"""The tables that the results are shown as."""

from benchmarks.tables.section import Section
from benchmarks.throughput.results import Results
from benchmarks.throughput.tables.main import main_section
from benchmarks.throughput.tables.scale import scale_section


def all_sections(results: Results) -> list[Section]:
    """A section for what was measured of all contestants, and one for scale."""
    found = (main_section(results), scale_section(results.scale) if results.scale else None)
    return [section for section in found if section]
