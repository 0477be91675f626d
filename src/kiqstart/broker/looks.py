"""What a worker sees of the others and of the queue when it looks with its beat."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final, Self, cast

from kiqstart.broker.redis_text import beat_of, queue_names, text_of_name, whole_number
from kiqstart.clock import local_time

# What the janitor says is text that anybody may have written.
_MOST_WORKERS: Final = 1_000_000
# What watch.lua returns; the first alone for a worker that is not registered.
WatchAnswer = tuple[int] | tuple[int, bytes, int, list[bytes], bytes]
# What tend.lua returns; the first alone for a worker that is not registered, with its beat for one that is no janitor.
_Tended = tuple[int, int, int, int, int, int, list[bytes], bytes]
_TendedAndTidied = tuple[int, int, int, int, int, int, list[bytes], bytes, int, list[bytes], list[int | bytes]]
_NO_JANITOR: Final = 2
_NOT_TIDYING: Final = 8
TendAnswer = tuple[int] | tuple[int, bytes] | _Tended | _TendedAndTidied


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """What the janitor has seen of the queue.

    Args:
        suspects: how many wait.
        misfits: how many messages were left to other workers.
        seconds: until a delayed message is due, or a worker dead that does not beat.
    """

    suspects: int = 0
    misfits: int = 0
    seconds: float = inf


@dataclass(frozen=True, kw_only=True)
class LateWorkers:
    """What a worker that is not the janitor sees (watch.lua).

    Args:
        at: the local time at which it was seen.
        role: what the janitor says, as it is in Redis.
        janitor: its name; '' for none.
        janitor_ms: Redis' time when it said that; 0 where it is not known.
        workers: how many there are, as the janitor says.
        is_free: whether the janitor's role is.
        beats: the workers that are late, and the last beat of each.
        before: this worker's own last beat before.
    """

    is_registered: bool
    at: float = field(default_factory=local_time)
    role: bytes = b""
    janitor: str = ""
    janitor_ms: int = 0
    workers: int = 0
    suspects: int = 0
    misfits: int = 0
    is_free: bool = False
    beats: dict[str, str] = field(default_factory=dict[str, str])
    before: int = 0

    @classmethod
    def of(cls, answer: WatchAnswer) -> Self:
        """What the script has answered."""
        if len(answer) == 1:
            return cls(is_registered=False)
        _, role, is_free, beats, before = answer
        janitor, workers, suspects, said_ms, misfits, *_ = [*text_of_name(role).split("|"), "", "", "", "", ""]
        return cls(
            is_registered=True,
            role=role,
            janitor=janitor,
            janitor_ms=whole_number(said_ms, 0),
            workers=min(whole_number(workers, 0), _MOST_WORKERS),
            suspects=whole_number(suspects, 0),
            misfits=whole_number(misfits, 0),
            is_free=is_free == 1,
            beats=_beats(beats),
            before=beat_of(before),
        )


@dataclass(frozen=True, kw_only=True)
class Tidying:
    """What the janitor tidies.

    Args:
        to_audit: how many unique keys and early acknowledgements are noted.
        queues: those that workers take.
        orphans: streams, and consumers that have entries there and are no workers.
    """

    to_audit: int
    queues: Sequence[str]
    orphans: Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class WholeQueue:
    """What the janitor sees (tend.lua), and a worker that tries to be it.

    Args:
        at: the local time at which it was seen.
        now_ms: Redis' time.
        next_due: milliseconds until a delayed message is due; -1 where there is none.
        dropped: how many dead letters ever were.
        beats: all workers, and the last beat of each.
        tidying: what is to be tidied with this beat.
        before: this worker's own last beat before.
    """

    is_registered: bool
    is_janitor: bool
    at: float = field(default_factory=local_time)
    now_ms: int = 0
    next_due: int = -1
    dropped: int = 0
    suspects: int = 0
    misfits: int = 0
    beats: dict[str, str] = field(default_factory=dict[str, str])
    tidying: Tidying | None = None
    before: int = 0

    @classmethod
    def of(cls, answer: TendAnswer, keys: Sequence[str]) -> Self:
        """What the script has answered that was given these keys."""
        if len(answer) == 1:
            return cls(is_registered=False, is_janitor=False)
        if len(answer) == _NO_JANITOR:
            return cls(is_registered=True, is_janitor=False, before=beat_of(answer[1]))
        _, now_ms, next_due, dropped, suspects, misfits, beats, before = answer[:_NOT_TIDYING]
        return cls(
            is_registered=True,
            is_janitor=True,
            now_ms=now_ms,
            next_due=next_due,
            dropped=dropped,
            suspects=suspects,
            misfits=misfits,
            beats=_beats(beats),
            tidying=None if len(answer) == _NOT_TIDYING else _tidying(*answer[_NOT_TIDYING:], keys),
            before=beat_of(before),
        )


def _tidying(to_audit: int, queues: Sequence[bytes], orphans: Sequence[int | bytes], keys: Sequence[str]) -> Tidying:
    places, consumers = cast("list[int]", orphans[::2]), cast("list[bytes]", orphans[1::2])
    return Tidying(
        to_audit=to_audit,
        queues=queue_names(queues),
        orphans=[(keys[place - 1], text_of_name(name)) for place, name in zip(places, consumers, strict=True)],
    )


def _beats(flat: Sequence[bytes]) -> dict[str, str]:
    """Workers and their last beats, which Redis gives in turn."""
    return {text_of_name(name): beat.decode() for name, beat in zip(flat[::2], flat[1::2], strict=True)}
