"""How many examples generated tests try: few beside the other tests, and as many as EXAMPLES says to look further."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from tests.deadlines import HANG

Test = TypeVar("Test", bound=Callable[..., Any])


def examples(usual: int, *, shrinks: bool = True) -> Callable[[Test], Test]:
    """Try so many on the real server, or EXAMPLES of them; one that fails is made smaller, if asked for."""
    number = int(os.environ.get("EXAMPLES", usual))
    tries = settings(
        max_examples=number,
        deadline=None,
        phases=[phase for phase in Phase if shrinks or phase is not Phase.shrink],
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    in_time = pytest.mark.timeout(HANG * max(number, 8))
    return lambda test: in_time(tries(test))
