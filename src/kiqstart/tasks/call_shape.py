"""What a task's function takes, in a word: by that workers know whether others are of another version in this."""

import hashlib
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Final

from kiqstart.tasks.arguments import attached_arguments

# Where an object is in this process.
_PLACE: Final = re.compile(r" at 0x[0-9a-f]+|(?<=:)\d{6,}")
_LENGTH: Final = 8


def call_shape(function: Callable[..., object]) -> str:
    """The same for what takes the same arguments, in whichever process; of two versions that differ, another one.

    It knows names, kinds and annotations of parameters, and for tasks of `register_task` all that pydantic makes of
    their types: fields of models, bounds, the names of validators. What a validator does is beyond it.
    """
    text = "\n".join(_parts(function))
    return hashlib.sha256(_PLACE.sub("", text).encode(errors="backslashreplace")).hexdigest()[:_LENGTH]


def _parts(function: Callable[..., object]) -> Iterator[str]:
    # Whatever an annotation's or a type's own code raises: what can be told of it has to do.
    try:
        for parameter in inspect.signature(function).parameters.values():
            has_default = parameter.default is not parameter.empty
            annotation = inspect.formatannotation(parameter.annotation)
            yield f"{parameter.kind} {parameter.name} {has_default} {annotation}"
        arguments = attached_arguments(function)
        if arguments is not None:
            for name, adapter in arguments.adapters.items():
                yield f"{name} {adapter.core_schema!r}"
    except Exception as error:  # noqa: BLE001  # see above
        yield type(error).__name__
