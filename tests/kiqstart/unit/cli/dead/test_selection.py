import pytest

from kiqstart.broker.delivery import DeadLetterReason
from kiqstart.cli.dead.selection import SelectionError, check_reason, check_selection, parse_age


@pytest.mark.parametrize(("letters", "every"), [([], False), (["1-1"], True)])
def test_either_ids_or_all(letters: list[str], every: bool) -> None:
    with pytest.raises(SelectionError, match="by their ids, or all of them with --all"):
        check_selection(letters, every=every, filters=[])


def test_filters_go_with_all_only() -> None:
    check_selection([], every=True, filters=["ping", None])
    check_selection(["1-1"], every=False, filters=[None, None])
    with pytest.raises(SelectionError, match="do not go with ids"):
        check_selection(["1-1"], every=False, filters=[None, "ping"])


def test_reasons_are_those_there_are() -> None:
    for reason in (None, *DeadLetterReason):
        check_reason(reason)
    with pytest.raises(SelectionError, match="--reason 'bad' is none of malformed, too-large, unknown-task, "):
        check_reason("bad")


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800), ("0s", 0)])
def test_ages_have_a_unit(text: str, seconds: int) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1w", "1.5h", "7d ", "٣d", "1e3s"])
def test_what_is_no_age_is_one_line(text: str) -> None:
    with pytest.raises(SelectionError, match="is no age: write 90s, 30m, 12h or 7d"):
        parse_age(text)
