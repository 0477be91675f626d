"""The text that says why a message is a dead letter."""

from typing import Final

from kiqstart.observability.redaction import redact

# The end of a traceback says most.
_LONGEST: Final = 16_384


def kept_detail(detail: str) -> bytes:
    """What a dead letter keeps of a traceback or a sentence, without passwords."""
    # Python's errors may hold what UTF-8 cannot: a file's name, for one.
    return redact(detail[-2 * _LONGEST :]).encode(errors="backslashreplace")[-_LONGEST:]
