from benchmarks.retention.document import renewed
from benchmarks.tables.figure_table import FigureTable
from benchmarks.tables.section import Section

DOCUMENT = """# How fast

Words.

## Figures

Of one machine.

### Speed

old speed

#### todos

| a |

### Memory

old memory
"""


def section(title: str) -> Section:
    table = FigureTable(title="todos", columns=("way",), rows=[["new"]])
    return Section(title=title, how="How.", where="Where.", tables=[table])


def test_measured_parts_are_replaced_or_put_in_their_place_and_others_stay() -> None:
    made = renewed(DOCUMENT, [section("Speed"), section("Equal values")])

    headings = [line for line in made.splitlines() if line.startswith("#")]
    assert headings == [
        "# How fast",
        "## Figures",
        "### Speed",
        "#### todos",
        "### Equal values",
        "#### todos",
        "### Memory",
    ]
    assert "Of one machine." in made
    assert "old memory" in made
    assert "old speed" not in made
    assert renewed(made, [section("Speed"), section("Equal values")]) == made
