"""Whether a call fits a task's function, as it does not where caller and worker are of different versions."""

import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kiqstart.tasks.errors import InvalidTaskArgumentsError


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCall:
    """A call of a task's function, with what its dependencies have given."""

    target: Callable[..., Any]
    args: Sequence[object]
    kwargs: Mapping[str, object]

    def did_not_fit(self, error: BaseException) -> bool:
        """Whether `error` says that the function does not take these arguments; it was then never entered.

        The same error out of its body is one of its own: of a call that it has made itself.
        """
        if not isinstance(error, TypeError | InvalidTaskArgumentsError):
            return False
        function = inspect.unwrap(self.target)
        code = getattr(function, "__code__", None)
        if any(frame.f_code is code for frame, _ in traceback.walk_tb(error.__traceback__)):
            return False
        return isinstance(error, InvalidTaskArgumentsError) or self._is_refused(function, error)

    def _is_refused(self, function: Callable[..., Any], error: TypeError) -> bool:
        # The words of Python itself. A decorator between may give the function other arguments than it gets.
        if not str(error).startswith(f"{getattr(function, '__qualname__', '')}() "):
            return False
        try:
            inspect.signature(self.target).bind(*self.args, **self.kwargs)
        except TypeError:
            return True
        except ValueError:  # a function without a signature
            return False
        return False
