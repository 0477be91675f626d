"""The one kind of error that a command shows as a line instead of a traceback."""


class OperatorError(Exception):
    """A mistake that whoever runs or configures the program can mend.

    Its text is one line: what is wrong, where, and what to do. Commands, workers and schedulers print that line and end
    with a non-zero exit code; a program that embeds the tasks catches the class like any other exception.
    """
