import pytest

from kiqstart.broker.beats import Beats


@pytest.fixture
def beats() -> Beats:
    beats = Beats()
    beats.begin(1000)
    return beats


def test_each_beat_is_another_number_than_any_that_redis_may_have(beats: Beats) -> None:
    sent = [beats.next(1000), beats.next(1000), beats.next(1000)]
    assert len({1000, *sent}) == 4


def test_redis_that_has_what_it_has_answered_last_has_lost_nothing(beats: Beats) -> None:
    beats.next(2000)
    assert not beats.answered(1000)
    beats.next(1500)
    assert not beats.answered(2000), "its clock was set back"
    assert beats.last == 1500


def test_a_beat_without_an_answer_may_have_come_or_not(beats: Beats) -> None:
    beats.next(2000)
    beats.next(3000)
    assert not beats.answered(1000)
    beats.next(4000)
    assert not beats.answered(2000), "it comes late, and sets what comes after it back"


def test_a_beat_that_was_seen_there_does_not_come_again(beats: Beats) -> None:
    for now in (2000, 3000, 4000):
        beats.next(now)
    assert not beats.answered(3000)
    beats.next(5000)
    assert beats.answered(3000), "data that were saved as it had come"
    beats.next(6000)
    assert beats.answered(2000), "one from before that has come as well"


def test_what_is_impossible_is_still_seen_where_the_answer_to_the_first_beat_is_lost(beats: Beats) -> None:
    beats.next(2000)
    assert not beats.answered(1000)
    beats.next(3000)
    beats.next(4000)
    assert beats.answered(1001), "a script has put it in the place of 1000"
    assert beats.last == 1002
    beats.next(5000)
    assert not beats.answered(1002)


def test_redis_that_has_an_older_beat_than_it_has_answered_has_older_data_once(beats: Beats) -> None:
    for now in (2000, 3000):
        beats.next(now)
        assert not beats.answered(beats.last)
    beats.next(4000)
    assert beats.answered(1000)
    beats.next(5000)
    assert not beats.answered(1001)


def test_what_redis_says_that_it_has_now_is_what_counts(beats: Beats) -> None:
    beats.next(2000)
    beats.next(3000)
    assert not beats.answered(2000, beat=4000)
    assert beats.last == 4000
