"""A search passes over no run that is meant."""

import json
import math
from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kiqstart.broker.run_decoding import runs_of
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.run_needles import Needles
from kiqstart.broker.run_stats import Outcome
from kiqstart.broker.run_text import Block, Segment, searchable

_ENTRY: Final = b"7-1700000000000"
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.from_regex(r"[A-Za-z0-9:. _-]{1,20}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def block_of(arguments: list[object], *, result: object = None, problem: str = "", is_ascii: bool = True) -> bytes:
    message: dict[str, object] = {"task_id": "id-1", "task_name": "mail.send", "args": arguments}
    data = json.dumps(message, ensure_ascii=is_ascii).encode(errors="surrogatepass")
    returned = json.dumps({"is_err": False, "return_value": result}, ensure_ascii=is_ascii).encode(
        errors="surrogatepass"
    )
    raised = problem.encode(errors="replace")
    facts = f"1699999999000-0 1699999999500 400 1 0 {len(data)} {len(returned)} {len(raised)}\n".encode()
    return b"1s default kiq-9c-5000 host:4711\n" + facts + data + returned + raised


@given(st.data(), st.lists(_VALUES, max_size=3), _VALUES, st.text(), st.booleans())
def test_whatever_is_shown_of_a_run_is_found(
    data: st.DataObject,
    arguments: list[object],
    result: object,
    problem: str,
    is_ascii: bool,
) -> None:
    block = block_of(arguments, result=result, problem=problem, is_ascii=is_ascii)
    for run in runs_of(_ENTRY, {b"runs": block}):
        shown = data.draw(st.sampled_from([run.arguments, run.result or "null", run.traceback, run.worker]))
        first = data.draw(st.integers(0, max(len(shown) - 1, 0)))
        # What folds into ASCII is written otherwise, and is found by its own letters only.
        text = shown[first : first + data.draw(st.integers(1, 12))]
        which = RunFilter(text=text)
        if text and which.fits(run) and text.isascii():
            assert Needles.of(which, are_readable=True).are_in(block), (text, block)


@example([math.nan], False)
@given(st.lists(_VALUES, max_size=3), st.booleans())
def test_a_run_is_found_by_each_of_its_arguments(arguments: list[object], is_ascii: bool) -> None:
    block, names = block_of(arguments, is_ascii=is_ascii), ["a", "b", "c"]
    for run in runs_of(_ENTRY, {b"runs": block}):
        for name, value in zip(names, run.values.args, strict=False):
            which = RunFilter(arguments={name: value}, parameters=lambda _: names)
            # What is not a number is not the same as itself.
            assert which.fits(run) or "nan" in str(value)
            needles, text = Needles.of(which, are_readable=True), Segment()
            text.add(Block(b"7-1", searchable(block), None))
            assert needles.are_in(block), value
            assert not needles.in_searchable or text.holding(needles.in_searchable) == [b"7-1"], value
            assert Needles.of(which, are_readable=False) == Needles()


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("customer-17", (b"customer-17",)),
        ("No such word", (b"no such word",)),
        ("4711", (b"4711",)),
        ('a: "b\\c"', (b"a", b"b", b"c")),
        ("Müller", (b"m", b"ller")),
        ("1e5", ()),
        ("e-05", ()),
        ("", ()),
    ],
)
def test_what_is_written_as_it_is_shown_narrows_a_search(text: str, phrases: tuple[bytes, ...]) -> None:
    assert Needles.of(RunFilter(text=text), are_readable=True).phrases == phrases
    assert Needles.of(RunFilter(text=text), are_readable=False).phrases == ()


def test_a_task_is_not_taken_for_another_whose_id_begins_alike() -> None:
    block = block_of(["id-10"])
    assert Needles.of(RunFilter(task_id="id-1", task="mail.send"), are_readable=True).are_in(block)
    assert not Needles.of(RunFilter(task_id="id-10x"), are_readable=True).are_in(block)
    assert not Needles.of(RunFilter(task="mail"), are_readable=True).are_in(block)
    assert not Needles.of(RunFilter(outcome=Outcome.CANCELLED), are_readable=True).are_in(block)
    assert not Needles.of(RunFilter(queue="low"), are_readable=True).are_in(block)


def test_of_a_block_those_runs_are_read_that_may_fit() -> None:
    one, other = block_of(["ada"]), block_of(["bob"])
    head, _, rest = other.partition(b"\n")
    fields = {b"runs": one + rest}
    assert head in one
    needles = Needles.of(RunFilter(text="BOB"), are_readable=True)
    [run] = runs_of(_ENTRY, fields, may_fit=needles.are_in)
    assert (run.id, run.arguments) == ("7-1700000000000.1", '"bob"')
    assert run.ended == datetime.fromtimestamp(1_700_000_000, UTC)
