"""Makes text that anybody may have written harmless on a terminal and in a log."""


def escape(text: str) -> str:
    """The text in one line, with whatever could move the cursor, change colours or hide something as its escape."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def escape_lines(text: str) -> str:
    """The same for a text of several lines, which stay lines."""
    return "\n".join(escape(line) for line in text.expandtabs(4).split("\n"))
