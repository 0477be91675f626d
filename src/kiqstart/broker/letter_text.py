"""The text that says why a message is a dead letter, or why a run has failed."""

from typing import Final

from kiqstart.observability.redaction import redact_end

# The end of a traceback says most.
_LONGEST: Final = 16_384


def kept_detail(detail: str) -> bytes:
    """What a dead letter keeps of a traceback or a sentence, without passwords."""
    # Python's errors may hold what UTF-8 cannot: a file's name, for one.
    return redact_end(detail, _LONGEST).encode(errors="backslashreplace")[-_LONGEST:]


def error_line(detail: str) -> str:
    """One line of a traceback, that of its error; of anything else the first."""
    lines = [line for line in detail.split("\n") if line.strip()] or [""]
    # The error's line is the first after the last frame, also where its text has several lines.
    frames = [place for place, line in enumerate(lines) if line.startswith('  File "')]
    after = [line for line in lines[frames[-1] :] if not line.startswith(" ")] if frames else []
    return (after[0] if after else lines[0]).strip()
