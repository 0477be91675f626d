from datetime import UTC, datetime, timedelta

from kiqstart.broker.run_decoding import Run
from kiqstart.broker.run_stats import Outcome
from kiqstart.dashboard.timeline import timeline_of

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def run(*, sent: float, began: float, outcome: Outcome, attempt: int = 1) -> Run:
    return Run(
        id="1-0",
        task_id="5f0c",
        task="work",
        arguments="",
        queue="default",
        outcome=outcome,
        sent=START + timedelta(seconds=sent),
        began=START + timedelta(seconds=began),
        ended=START + timedelta(seconds=began + 1),
        seconds=1.0,
        attempt=attempt,
        crashes=0,
        worker="kiq-1",
        host="h",
        pid=1,
        schedule=None,
        sent_by=None,
        result=None,
        error=None,
        traceback="",
        log="",
    )


def test_what_is_sent_again_by_hand_has_not_waited_since_it_failed() -> None:
    failed = run(sent=0, began=2, outcome=Outcome.FAILED)
    timeline = timeline_of([run(sent=600, began=603, outcome=Outcome.SUCCEEDED), failed])
    assert timeline is not None
    assert list(timeline.lines) == ["Try 1 waited 2.0 s, ran 1.0 s: failed", "Try 1 waited 3.0 s, ran 1.0 s: succeeded"]


def test_a_retry_waits_from_the_end_of_the_try_before() -> None:
    tries = [
        run(sent=0, began=13, outcome=Outcome.SUCCEEDED, attempt=2),
        run(sent=0, began=2, outcome=Outcome.RETRIED),
    ]
    timeline = timeline_of(tries)
    assert timeline is not None
    assert list(timeline.lines) == [
        "Try 1 waited 2.0 s, ran 1.0 s: retried",
        "Try 2 waited 10.0 s, ran 1.0 s: succeeded",
    ]
