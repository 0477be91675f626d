from typing import Any

import pytest

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.lease import Lease, watch_span
from kiqstart.broker.options import StreamOptions
from kiqstart.tasks.errors import WiringError


@pytest.mark.parametrize(
    "options",
    [
        {"lease": 0.0},
        {"lease": float("nan")},
        {"max_deliveries": 0},
        {"send_deadline": -1.0},
        {"dead_letter_age": float("inf")},
        {"dead_letter_limit": 0},
        {"cancel_age": 0.0},
        {"overrun_grace": 0.0},
        {"hook_timeout": 0.0},
    ],
)
def test_an_option_out_of_its_range_is_named_in_one_line(options: dict[str, float]) -> None:
    name, value = next(iter(options.items()))
    with pytest.raises(WiringError) as caught:
        StreamOptions(**options)  # type: ignore[arg-type]  # the wrong values are the point
    assert str(caught.value) == f"StreamOptions: {name}={value!r} must be above 0"


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("lease", "5", "a number"),
        ("lease", None, "a number"),
        ("lease", True, "a number"),
        ("max_deliveries", 2.5, "a whole number"),
        ("quarantine", "no", "True or False"),
    ],
)
def test_an_option_of_a_wrong_type_is_named_in_one_line(name: str, value: object, wanted: str) -> None:
    with pytest.raises(WiringError) as caught:
        StreamOptions(**{name: value})  # type: ignore[arg-type]  # the wrong types are the point
    assert str(caught.value) == f"StreamOptions: {name}={value!r} must be {wanted}"


def test_a_late_worker_is_dead_within_its_lease_and_has_several_beats_until_then() -> None:
    options = StreamOptions(lease=10.0)
    span = watch_span(Lease(options.lease).begin(), default_lease=1.0)
    assert span <= options.lease
    assert options.beat * 3 < span


@pytest.mark.parametrize(
    ("queues", "problem"),
    [
        ({}, "a worker needs at least one queue"),
        *(
            ({"low": weight}, f"queue 'low' with weight {weight!r}: a weight is a whole number, at least 1")
            for weight in (0, "3", None, 1.5, True)
        ),
        ({5: 1}, "queue 5 with weight 1: a queue's name is text"),
        ({"lo w": 1}, "queue 'lo w' with weight 1: a queue's name has no space and no control character"),
        (
            {"low:suspects": 1},
            (
                "queue 'low:suspects' with weight 1: a queue's name does not end with "
                ":returned, :suspects, :isolated, :misfits"
            ),
        ),
    ],
)
def test_queues_that_cannot_be_are_named_in_one_line(queues: dict[Any, Any], problem: str) -> None:
    with pytest.raises(WiringError) as caught:
        StreamBroker("redis://localhost", queues=queues)
    assert str(caught.value) == problem
