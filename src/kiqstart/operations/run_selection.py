"""Which runs a command is about."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import pydantic_core

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.message_view import as_text
from kiqstart.broker.redis_text import raw_name
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.run_stats import Outcome
from kiqstart.broker.whereabouts import Place
from kiqstart.observability.redaction import is_secret_name, redact
from kiqstart.operations.dead_selection import SelectionError, parse_age
from kiqstart.tasks.arguments import task_arguments
from kiqstart.tasks.errors import UnsupportedTaskError


def which_runs(
    *,
    task: str | None,
    outcome: str | None,
    queue: str | None,
    text: str | None,
    since: str | None = None,
    arguments: Sequence[str] = (),
) -> RunFilter:
    """The filter of a command's options.

    Raises:
        SelectionError: there is no such outcome, or no such age, or it is not clear which arguments are meant.
    """
    if outcome is not None and outcome not in list(Outcome):
        raise SelectionError(f"--outcome {outcome!r} is none of {', '.join(Outcome)}")
    began = None if since is None else datetime.now(UTC) - timedelta(seconds=parse_age(since, "--since"))
    return RunFilter(
        task=task,
        outcome=None if outcome is None else Outcome(outcome),
        queue=queue,
        text=text,
        since=began,
        arguments=parse_arguments(arguments),
    )


def parse_state(
    state: str | None, *, outcome: str | None = None, since: str | None = None, look_at: int | None = None
) -> Place | None:
    """Where tasks are that have not ended, of a command's options; None where runs are meant that have.

    Raises:
        SelectionError: there is no such state, or another option is about the others.
    """
    if state is None:
        if look_at is not None:
            raise SelectionError("--look-at is for --state: of runs that have ended, all are looked at")
        return None
    if state not in list(Place):
        raise SelectionError(f"--state {state!r:.100} is none of {', '.join(Place)}")
    if outcome is not None or since is not None:
        raise SelectionError("--outcome and --since are for runs that have ended: take them without --state")
    return Place(state)


def parse_arguments(words: Sequence[str]) -> Mapping[str, object]:
    """Arguments by name, each with its JSON value, of words such as `customer=7`; what is no JSON is a text.

    Raises:
        SelectionError: a word is no such condition, or names what is a secret.
    """
    arguments: dict[str, object] = {}
    for word in words:
        name, is_condition, written = word.partition("=")
        if not (is_condition and name):
            raise SelectionError(f"--argument {word[:200]!r}: write an argument and its value, such as customer=7")
        if name in arguments:
            raise SelectionError(f"--argument names {name!r:.200} twice")
        value = arguments[name] = _value(written)
        # A search would tell whether a guess is right.
        said = f"{name}={as_text(value)}"
        if is_secret_name(name) or redact(said) != said:
            raise SelectionError(f"--argument {name!r:.200}: secrets are not shown, and not looked for")
    return arguments


def by_parameters(which: RunFilter, broker: StreamBroker) -> RunFilter:
    """The same filter, for which arguments of the broker's tasks have names that were handed in by their place."""

    @cache
    def parameters(task_name: str) -> Sequence[str]:
        task = broker.find_task(task_name)
        try:
            signature = None if task is None else task_arguments(task.original_func).signature
        except UnsupportedTaskError:
            return ()
        found = () if signature is None else signature.parameters.values()
        return [one.name for one in found if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]

    return replace(which, parameters=parameters)


def _value(written: str) -> object:
    try:
        return pydantic_core.from_json(raw_name(written), allow_inf_nan=False)
    except ValueError:
        return written
