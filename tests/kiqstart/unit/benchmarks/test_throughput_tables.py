import pytest

from benchmarks.throughput.results import Contestant, Environment, Figure, FiguresPart, Measure, Results
from benchmarks.throughput.tables import all_sections

ENVIRONMENT = Environment(redis="Redis", database="PostgreSQL", python="3.11", cores=2)


def tables(*figures: Figure) -> str:
    names = dict.fromkeys(figure.contestant for figure in figures)
    contestants = [Contestant(name=name, settings="defaults", acknowledged="late", versions={}) for name in names]
    part = FiguresPart(environment=ENVIRONMENT, contestants=contestants, repeat=3, figures=list(figures))
    return "\n".join(section.markdown() for section in all_sections(Results(running=part)))


def ran(contestant: str, *values: float) -> list[Figure]:
    return [Figure(contestant=contestant, measure=Measure.RUN_1, value=value, tasks=100) for value in values]


def test_a_cell_has_median_spread_and_ratio_to_plain_taskiq() -> None:
    text = tables(*ran("kiqstart", 9000, 8000, 12_000), *ran("taskiq stream", 1000, 900, 1100))
    assert "| kiqstart | - | - | - | 9,000 (8,000 to 12,000), 9.00x |" in text
    assert "| taskiq stream | - | - | - | 1,000 (900 to 1,100) |" in text


def test_who_lost_tasks_has_no_figure_but_a_remark() -> None:
    problem = "of 100 tasks 97 have a result"
    lost = Figure(contestant="saq", measure=Measure.RUN_1, value=None, tasks=100, problem=problem)
    text = tables(*ran("kiqstart", 9000), lost)
    assert "| saq | - | - | - | * |" in text
    assert f"* saq: {problem} (run with 1 worker process, tasks/s)." in text


@pytest.mark.parametrize(("peer", "verdict"), [(8999, "met"), (9001, "not met")])
def test_kiqstart_is_compared_with_the_best_of_its_peers(peer: float, verdict: str) -> None:
    text = tables(*ran("kiqstart", 9000), *ran("arq", 10), *ran("dramatiq", peer))
    assert f"ahead of every peer: 9,000, the best of them dramatiq with {float(f'{peer:.3g}'):,.0f}, {verdict}" in text


def test_a_limit_is_no_peer() -> None:
    text = tables(*ran("limit, redis-py", 50_000), *ran("kiqstart", 9000), *ran("arq", 10))
    assert "the best of them arq with 10, met" in text
    assert text.index("| arq |") < text.index("| limit, redis-py |")
