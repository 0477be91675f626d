import pytest
from taskiq import TaskiqMessage

from kiqstart.broker.retries import retry_delay


def message(**labels: object) -> TaskiqMessage:
    return TaskiqMessage(task_id="1", task_name="try", labels=labels, args=[], kwargs={})


@pytest.mark.parametrize(
    ("labels", "delays"),
    [
        ({}, [0, 0, 0]),
        ({"retry_delay": 5}, [5, 5, 5]),
        ({"retry_delay": 2, "retry_backoff": 3}, [2, 6, 18]),
        ({"retry_delay": 2, "retry_backoff": 3, "retry_max_delay": 7}, [2, 6, 7]),
        ({"retry_delay": 100_000}, [86_400, 86_400, 86_400]),
    ],
)
def test_a_delay_is_multiplied_for_each_further_try_up_to_the_longest(
    labels: dict[str, float], delays: list[float]
) -> None:
    assert [retry_delay(message(**labels), retries) for retries in range(3)] == delays


def test_the_thousandth_try_of_a_growing_delay_waits_for_the_longest_unless_there_is_none() -> None:
    assert retry_delay(message(retry_delay=1, retry_backoff=2, retry_max_delay=60), 5000) == 60
    assert retry_delay(message(retry_delay=0, retry_backoff=2, retry_max_delay=60), 5000) == 0


def test_jitter_lengthens_and_shortens_a_delay_by_its_share_at_most() -> None:
    delays = [retry_delay(message(retry_delay=10, retry_jitter=0.2), 0) for _ in range(200)]
    assert all(8 <= delay <= 12 for delay in delays)
    assert min(delays) < 9
    assert max(delays) > 11
