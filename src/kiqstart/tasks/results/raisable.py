"""Errors of tasks as those who wait for them may raise them."""

from kiqstart.tasks.results.errors import TaskExitedError


def raisable(error: BaseException) -> Exception:
    """The error; or, if it would end or cancel whoever raises it, one that says so and has it as its cause.

    A caller raises what anybody may have stored: a `SystemExit` would end its process, and a `CancelledError` would
    pass for the cancellation of its own task.
    """
    if issubclass(type(error), Exception):
        return error  # type: ignore[return-value]  # which mypy cannot see of `type`: an error may lie about its class
    exited = TaskExitedError(f"{type(error).__name__}: {error}".removesuffix(": "))
    exited.__cause__ = error
    return exited
