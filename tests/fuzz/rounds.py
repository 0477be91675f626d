"""Tries inputs of a surface, a round at a time: a seed gives the same ones again."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from traceback import TracebackException
from typing import Any, Final, cast

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import HypothesisWarning
from tests.fuzz.judge import no_code_is_run
from tests.fuzz.surface import Ground, Surface

_LONGEST: Final = 2000
_SLOW_AND_LARGE: Final = [
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.large_base_example,
    HealthCheck.nested_given,
]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """An input that did what none may do.

    Args:
        surface: where it arrived.
        seed: of the round.
        example: the input, as small as it could be made.
        error: what happened.
    """

    surface: str
    seed: int
    example: str
    error: BaseException

    def __str__(self) -> str:
        problems = "\n".join("".join(_written(one))[-_LONGEST:] for one in _single(self.error))
        return (
            f"{self.surface}:\n{problems}\n{self.example[:_LONGEST]}\n"
            f"again: make fuzz SURFACE={self.surface} SEED={self.seed} MINUTES=0"
        )


def _single(error: BaseException) -> Iterator[BaseException]:
    """An error; or those of a group, which Hypothesis raises where it found several."""
    if isinstance(error, BaseExceptionGroup):
        for one in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _single(one)
    else:
        yield error


def _written(error: BaseException) -> Iterator[str]:
    written = TracebackException.from_exception(error)
    # Hypothesis', whose example is longer than what happened.
    written.__notes__ = None
    return written.format()


@dataclass(kw_only=True)
class Round:
    """Some inputs of one seed."""

    surface: Surface
    seed: int
    inputs: int = 0
    odd_things: int = 0

    def play(self, ground: Ground, *, examples: int, shrinks: bool) -> Finding | None:
        """Try inputs; give the first finding, or None."""
        phases = [Phase.generate, *([Phase.shrink] if shrinks else [])]

        # The last one is the smallest that was found.
        last: list[Any] = []

        @seed(self.seed)
        @settings(
            max_examples=examples, phases=phases, database=None, deadline=None, suppress_health_check=_SLOW_AND_LARGE
        )
        @given(self.surface.inputs)
        def try_one(given_input: Any) -> None:  # noqa: ANN401  # each surface has its own
            self.inputs += 1
            last.append(given_input)
            del last[:-1]
            self.odd_things += self.surface.size(given_input)
            with no_code_is_run(ground.folder):
                self.surface.try_out(ground, given_input)

        try:
            with warnings.catch_warnings():
                # Some inputs are long on purpose.
                warnings.simplefilter("ignore", HypothesisWarning)
                try_one()
        except BaseException as error:  # a task's SystemExit as well
            if isinstance(error, KeyboardInterrupt):
                raise
            return Finding(surface=self.surface.name, seed=self.seed, example=repr(last), error=error)
        return None
