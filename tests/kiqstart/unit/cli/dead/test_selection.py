import pytest

from kiqstart.broker.delivery import DeadLetterReason
from kiqstart.operations.dead_selection import Filters, SelectionError, check_reason, check_selection, parse_age

NONE, SOME = Filters(), Filters(task="ping")


@pytest.mark.parametrize(
    ("letters", "every", "filters"),
    [([], False, NONE), (["1-1"], True, NONE), (["1-1"], False, SOME), (["1-1"], True, SOME)],
)
def test_either_ids_or_all_or_what_narrows_all(letters: list[str], every: bool, filters: Filters) -> None:
    with pytest.raises(SelectionError, match="by their ids, or choose them with --task, --reason and --older-than"):
        check_selection(letters, filters, every=every)


@pytest.mark.parametrize(
    ("letters", "every", "filters"), [(["1-1"], False, NONE), ([], True, NONE), ([], False, SOME), ([], True, SOME)]
)
def test_a_choice_that_makes_sense(letters: list[str], every: bool, filters: Filters) -> None:
    check_selection(letters, filters, every=every)


def test_a_choice_is_said_in_words() -> None:
    assert NONE.described == "all dead letters"
    every = Filters(task="ping", reason="malformed", older_than="7d")
    assert every.described == "all dead letters of 'ping' with the reason malformed, older than 7d"


def test_reasons_are_those_there_are() -> None:
    for reason in (None, *DeadLetterReason):
        check_reason(reason)
    with pytest.raises(
        SelectionError, match="--reason 'bad' is none of malformed, untrusted, too-large, unknown-task, "
    ):
        check_reason("bad")


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800), ("0s", 0)])
def test_ages_have_a_unit(text: str, seconds: int) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1w", "1.5h", "7d ", "٣d", "1e3s"])
def test_what_is_no_age_is_one_line(text: str) -> None:
    with pytest.raises(SelectionError, match="is no age: write 90s, 30m, 12h or 7d"):
        parse_age(text)
