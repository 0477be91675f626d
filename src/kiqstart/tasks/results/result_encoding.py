"""Results as JSON, as taskiq's `TaskiqResult` has them; errors as `error_encoding` describes."""

import json
from collections.abc import Callable, Mapping
from logging import getLogger
from typing import Any, Final, TypeVar, cast

import pydantic_core
from taskiq import TaskiqResult

from kiqstart.tasks.colliding_keys import WITHOUT_PARTS
from kiqstart.tasks.exact_json import MOST_DIGITS, dump, dump_exactly, place_of_fault
from kiqstart.tasks.results.error_decoding import decode_error
from kiqstart.tasks.results.error_encoding import encode_error, text_of
from kiqstart.tasks.results.errors import ResultTooLargeError, UnserializableResultError, raisable
from kiqstart.tasks.results.plain_values import class_name
from kiqstart.tasks.results.result_labels import sendable_labels, size_of
from kiqstart.tasks.sizes import DEFAULT_BYTES, MOST_GROWTH, size_problem
from kiqstart.tasks.written import lost_secret

logger = getLogger(__name__)

ReturnType = TypeVar("ReturnType")

_validate: Final = cast(
    "Callable[[Mapping[str, Any]], TaskiqResult[Any]]", TaskiqResult.__pydantic_validator__.validate_python
)
FAILED_RESULT: Final = b'{"is_err":true'
"""What the result of a failed task begins with."""
# A result without an error has none for `log`, nor for `error`.
_NULLS: Final = 2


def encode_result(task_id: str, result: TaskiqResult[ReturnType], *, limit: int = DEFAULT_BYTES) -> bytes:
    """A result as JSON. One that JSON cannot hold, or that is too large, is that of a failed task, with that error.

    Labels that JSON cannot hold, or that make it too large, are left out.

    Args:
        task_id: for the log.
        result: what the task returned or raised.
        limit: bytes.
    """
    fields = result.__dict__
    if result.error is not None:
        return _encode_failed(task_id, fields, result.error, limit)
    try:
        if type(result.return_value) in WITHOUT_PARTS and not result.labels:
            # Of these JSON loses nothing.
            data = pydantic_core.to_json(fields, by_alias=False)
            if len(data) * MOST_GROWTH < limit and len(data) <= MOST_DIGITS:
                return data
        data = dump_exactly(fields, nulls=_NULLS + (result.return_value is None))
    except (TypeError, ValueError, RecursionError) as error:
        labels = sendable_labels(task_id, result.labels)
        if labels is not result.labels:
            return encode_result(task_id, result.model_copy(update={"labels": labels}), limit=limit)
        problem: Exception = unserializable(result.return_value, error)
    else:
        lost = lost_secret(result.return_value, data)
        too_large = size_problem(data, limit)
        if lost is None and too_large is None:
            return data
        if lost is None and result.labels and len(data) - size_of(result.labels) < limit:
            logger.warning("Task with id %s: its labels are left out of its result, which would be too large", task_id)
            return encode_result(task_id, result.model_copy(update={"labels": {}}), limit=limit)
        problem = (
            ResultTooLargeError(too_large)
            if too_large is not None
            else UnserializableResultError(f"the task's result holds a {lost} and cannot be sent as JSON")
        )
    logger.error("Task with id %s: %s", task_id, problem)
    return encode_failure(problem, execution_time=result.execution_time)


def unserializable(returned: object, problem: BaseException) -> UnserializableResultError:
    """The error of a task that has returned what is no JSON.

    Args:
        returned: the task's result.
        problem: why it could not be written.
    """
    place = place_of_fault({"return_value": returned})
    where = f" at {place}" if place else ""
    return UnserializableResultError(
        f"the task's result ({class_name(type(returned))}) cannot be sent as JSON{where}: {text_of(problem)}"
    )


def encode_failure(error: BaseException, *, execution_time: float = 0.0) -> bytes:
    """The result of a task that failed. It has a bound, whatever the error refers to.

    Args:
        error: why.
        execution_time: seconds.
    """
    return dump(
        {
            "is_err": True,
            "log": None,
            "return_value": None,
            "execution_time": execution_time,
            "labels": {},
            "error": encode_error(error),
        }
    )


def decode_result(value: bytes) -> TaskiqResult[Any]:
    """A result from JSON, also of an older version or of taskiq's own.

    Raises:
        ValueError: it is no result; the text says why in one line.
    """
    try:
        fields: object = pydantic_core.from_json(value)
    except ValueError:
        fields = _parse_slowly(value)
    if not isinstance(fields, dict):
        raise ValueError(f"it is a {type(fields).__name__} and no JSON object")  # noqa: TRY004  # what is read is wrong, not who asks
    return _result(cast("dict[str, Any]", fields))


def _encode_failed(task_id: str, fields: Mapping[str, Any], error: BaseException, limit: int) -> bytes:
    try:
        data = dump({**fields, "error": encode_error(error)})
    except (TypeError, ValueError, RecursionError) as problem:
        labels = sendable_labels(task_id, fields["labels"])
        if labels is not fields["labels"]:
            return _encode_failed(task_id, {**fields, "labels": labels}, error, limit)
        # What a middleware has laid beside the error is worth less than the error.
        logger.warning("Task with id %s: its error is stored without its value and labels: %s", task_id, problem)
    else:
        if size_problem(data, limit) is None:
            return data
    return encode_failure(error, execution_time=fields["execution_time"])


def _parse_slowly(value: bytes) -> object:
    # It reads what is nested more deeply than pydantic reads and pydantic writes.
    try:
        return json.loads(value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("it is no JSON") from None
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from None


def _result(fields: dict[str, Any]) -> TaskiqResult[Any]:
    error = fields.get("error")
    # One that is not given is not validated, which would cost more than all the rest.
    if error is None:
        fields.pop("error", None)
    else:
        fields["error"] = raisable(decode_error(error))
    try:
        return _validate(fields)
    except pydantic_core.ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"its {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
