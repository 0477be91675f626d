"""Text of strangers on a terminal."""


def printable(text: str) -> str:
    """The text with whatever could move the cursor, change colours or hide something written as its escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def printable_lines(text: str) -> str:
    """The same for a text of several lines, which stay lines."""
    return "\n".join(printable(line) for line in text.expandtabs(4).split("\n"))
