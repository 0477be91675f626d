"""What an input may name so that it is called or made: nothing here ever may be."""

SPRUNG: list[str] = []
"""What has been, which is a finding."""


class TrapError(Exception):
    """A class that a stored error may name."""

    def __init__(self, *args: object) -> None:
        SPRUNG.append(f"an error's __init__ was run: {args!r:.200}")
        super().__init__(*args)


class Trap:
    """A class that is none of an error."""

    def __init__(self, *args: object) -> None:
        SPRUNG.append(f"a class was called: {args!r:.200}")


def spring(*args: object) -> None:
    """A function."""
    SPRUNG.append(f"a function was called: {args!r:.200}")
