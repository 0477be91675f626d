"""Numbers of things, in words."""


def counted(number: int, thing: str) -> str:
    """So many of a thing whose name takes an `s`: `1 task`, `1,200 tasks`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
