"""Variants of the product with one defect each, that it once had or could have: does the simulation find them?"""

# ruff: noqa: ANN401  # each stands in for a function of the product

import hashlib
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import patch

from tests.simulation.history import play
from tests.simulation.plans import plan_of
from tests.simulation.scripts import scripts
from tests.simulation.server import HISTORIES_BETWEEN_COLLECTIONS, Server, forget_the_killed

from kiqstart.broker import reclaimer
from kiqstart.broker.beats import Beats
from kiqstart.broker.cancel_marks import CancelMarks
from kiqstart.broker.consumer import StreamConsumer
from kiqstart.broker.failure_detector import FailureDetector
from kiqstart.broker.heartbeat import Heartbeat
from kiqstart.broker.lease import Lease
from kiqstart.broker.misfit_recall import MisfitRecall
from kiqstart.broker.misfits import Misfits
from kiqstart.broker.quarantine import quarantine
from kiqstart.broker.reclaimer import Reclaimer
from kiqstart.broker.registrar import Registrar
from kiqstart.broker.settlement import Settlement


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A change of a script's text.

    Args:
        script: its name; '' for what stands before all scripts.
    """

    script: str
    old: str
    new: str


@dataclass(frozen=True, kw_only=True)
class Replaced:
    """Another value of something in Python."""

    where: object
    name: str
    value: object


@dataclass(frozen=True, kw_only=True)
class Search:
    """From which seed on how many histories are played until a defect counts as not found.

    Args:
        seconds: of this process' own work, for which they are played at most.
    """

    seed: int
    histories: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Finding:
    """After how many histories a defect was found, and by which promise."""

    number: int
    broken: str


def find_defect(name: str, search: Search) -> Finding | None:
    """Play histories with a defect until one breaks a promise.

    Raises:
        ValueError: the defect cannot be put back: the product's text is another one by now.
    """
    until = time.process_time() + search.seconds
    with Server() as server, put_back(name):
        for number in range(search.histories):
            if time.process_time() > until:
                break
            if number % HISTORIES_BETWEEN_COLLECTIONS == 0:
                forget_the_killed()
            broken = play(plan_of(search.seed + number), server).broken
            if broken:
                return Finding(number=number + 1, broken=broken)
    return None


@contextmanager
def put_back(name: str) -> Generator[None]:
    """Let the product have a defect for the `with` block."""
    with ExitStack() as stack:
        for change in DEFECTS[name]:
            if isinstance(change, Replaced):
                stack.enter_context(patch.object(change.where, change.name, change.value))
            else:
                _edit(stack, change)
        yield


def _edit(stack: ExitStack, edit: Edit) -> None:
    texts = scripts()
    is_found = False
    for name in [edit.script] if edit.script else list(texts):
        for script in texts[name]:
            text = script._text.replace(edit.old, edit.new)
            if text != script._text:
                is_found = True
                sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
                stack.enter_context(patch.object(script, "_text", text))
                stack.enter_context(patch.object(script, "_sha", sha))
    if not is_found:
        raise ValueError(f"{edit.script or 'library'}.lua has no {edit.old!r} any more")


# --- what is not in a script


async def _taken_as_it_is(self: Settlement, delivery: object, answer: bool | BaseException) -> bool | BaseException:
    del self, delivery
    return answer


async def _find_tasks_only(self: StreamConsumer, deliveries: Any) -> None:
    read = [self._read_message(one.data) for one in deliveries]
    tasks = ["" if one is None else one.task_id for one in read]
    scripts: Any = self._clients.scripts
    marks: list[object] = await scripts.execute_command("ZMSCORE", self._keys.cancelled, *tasks)
    for delivery, mark in zip(deliveries, marks, strict=True):
        delivery.is_cancelled = mark is not None


async def _look_for_none(self: StreamConsumer, deliveries: object) -> None:
    del self, deliveries


async def _marks_or_nothing(self: CancelMarks, look: Any) -> None:
    self.note(await look)


async def _no_marks(self: CancelMarks, look: Any) -> None:
    look.cancel()
    self.note(0)


def _by_age_alone(self: FailureDetector, beats: Mapping[str, str], now: float) -> list[tuple[str, str]]:
    """Who was late when it was looked at last is dead: no span, and no forgetting after a gap."""
    late = [(worker, beat) for worker, beat in beats.items() if self._seen.get(worker, ("", 0.0))[0] == beat]
    self._seen = {worker: (beat, now) for worker, beat in beats.items()}
    return late


def _beat_plainly(self: Registrar, worker: str) -> bool:
    return bool(self._redis.zadd(self._keys.workers, {worker: self.next_beat()}, xx=True, ch=True))


def _always_trusted(_: Lease, now: float) -> bool:
    del now
    return True


def _for_long(_: Lease) -> float:
    return 5.0


def _over_after_the_grace(self: MisfitRecall, fields: Mapping[str, str], known: object, now_ms: int) -> bool:
    del known
    return (now_ms - int(fields["since"])) / 1000 >= self._grace


def _take_anything(self: Misfits, entry: str, fields: Mapping[str, str]) -> None:
    self._found[entry] = fields["queue"]


_ANSWERED: Final = Beats.answered


def _answered_whatever_was_before(self: Beats, before: int, *, beat: int | None = None) -> bool:
    """Redis has the beat that was sent now, whatever it had before."""
    is_older = _ANSWERED(self, before, beat=beat)
    self.last = self._next if beat is None else beat
    return is_older


def _was_lost_with_all(self: Registrar) -> bool:
    return self.epoch() != self._lease.epoch


def _find_none(self: Heartbeat) -> None:
    del self


def _same_beat(self: Registrar, worker: str) -> bool:
    return bool(self._redis.zadd(self._keys.workers, {worker: self.now_ms()}, xx=True, ch=True))


def _first_death_is_last(self: Reclaimer, queue: str, stream: str, worker: str) -> int:
    del queue, stream, worker
    return self._options.max_deliveries


def _orphans_at_once(self: FailureDetector, beats: Mapping[str, str], now: float) -> list[tuple[str, str]]:
    del self, now
    return list(beats.items())


class _AtOnce(FailureDetector):
    look = _orphans_at_once


_MOVE: Final = "local function move_entry(keys, stream, group, id, target, fields)\n"
_CARELESS_ADD: Final = Edit(script="", old=f"{_MOVE}    check_removal(stream, group)\n", new=_MOVE)

Change = Edit | Replaced
DEFECTS: Final[dict[str, tuple[Change, ...]]] = {
    "a known batch is answered 'sent'": (
        Edit(
            script="",
            old="return answer ~= '' and tonumber(last) == tonumber(number) and cmsgpack.unpack(answer) or {}",
            new="return {}",
        ),
    ),
    "a batch is not known again": (
        Edit(
            script="",
            old="if last and #last < 16 and tonumber(last) >= tonumber(number) then",
            new="if false then",
        ),
    ),
    "what a caller gave up is counted as sent": (
        Edit(script="send", old="        place = place + count\n", new="        place = place\n"),
    ),
    "a key's holder of the same id is oneself": (
        Edit(
            script="",
            old="    return redis.call('HGET', keys.uniques, unique)\nend",
            new="    local one = redis.call('HGET', keys.uniques, unique)\n    return one ~= task and one or nil\nend",
        ),
    ),
    "a key is not released": (Edit(script="", old="redis.call('HDEL', keys.uniques, unique)", new=""),),
    "a key is released by a retry": (
        Edit(
            script="settle",
            old="if not problem and is_owned and outcome ~= 'again' and outcome ~= 'left' then",
            new="if not problem then",
        ),
    ),
    "publishing raises in the middle of settling": (
        Edit(script="", old="redis.pcall('PUBLISH'", new="redis.call('PUBLISH'"),
        Edit(
            script="settle",
            old="local is_well, problem, is_cancelled = pcall(finish, target,",
            new="forget_entry(stream, group, entry)\n    local is_well, problem, is_cancelled = true, finish(target,",
        ),
    ),
    "settling removes before it adds": (
        Edit(
            script="settle",
            old="    local is_well, problem, is_cancelled = pcall(finish,",
            new="    if is_owned then forget_entry(stream, group, entry) end\n"
            "    local is_well, problem, is_cancelled = pcall(finish,",
        ),
    ),
    "moving removes before it adds": (
        Edit(
            script="",
            old="    local added = add_again(keys, target, '*', fields)",
            new="    forget_entry(stream, group, id)\n    local added = add_again(keys, target, '*', fields)",
        ),
    ),
    "moving adds what it may not remove": (_CARELESS_ADD,),
    "settling does not look whose it is": (
        Edit(
            script="settle", old="local is_owned = owner_of(stream, group, entry) ~= nil", new="local is_owned = true"
        ),
        Edit(
            script="settle",
            old="local is_owned = are_all_here or redis.call('XACK', stream, group, entries[offset]) == 1",
            new="redis.call('XACK', stream, group, entries[offset])\n        local is_owned = true",
        ),
    ),
    "a full Redis refuses a result for good": (
        Edit(script="settle", old="    check_removal(stream, group)\n", new=""),
        Replaced(where=Settlement, name="_for_good", value=_taken_as_it_is),
    ),
    "a refused result lets its task run again": (
        Edit(script="settle", old="    check_removal(stream, group)\n", new=""),
        Replaced(where=Settlement, name="finish", value=_taken_as_it_is),
    ),
    "cancel takes only the first of an id's delayed": (
        Edit(script="cancel", old="    count = count + 1\nend", new="    count = count + 1\n    break\nend"),
    ),
    "the mark goes with the first that is cancelled": (
        Edit(
            script="cancel_entry",
            old="redis.call('XDEL', KEYS[1], ARGV[2])",
            new="redis.call('XDEL', KEYS[1], ARGV[2])\nredis.call('ZREM', keys.cancelled, ARGV[3])",
        ),
    ),
    "a retry does not look at marks": (
        Edit(
            script="settle",
            old="if (outcome == 'again' or outcome == 'left') and has_marks "
            "and is_marked(keys, task, stream, entry) then",
            new="if false then",
        ),
    ),
    "an entry's mark is lost when it is moved": (Edit(script="", old="    if mark then\n", new="    if false then\n"),),
    "marks of entries are not seen when they are read": (
        Replaced(where=StreamConsumer, name="_find_cancelled", value=_find_tasks_only),
    ),
    "a read that waits does not count marks": (Replaced(where=CancelMarks, name="end_look", value=_no_marks),),
    "marks are never looked at by a reader": (
        Replaced(where=StreamConsumer, name="_find_cancelled", value=_look_for_none),
    ),
    "a lost count of marks loses what was read": (
        Replaced(where=CancelMarks, name="end_look", value=_marks_or_nothing),
    ),
    "a dead letter of a lost worker has no result": (
        Edit(script="condemn", old="if ARGV[12] ~= '' then", new="if false then"),
    ),
    "the last death buries without a witness": (
        Replaced(where=Reclaimer, name="_last_death", value=_first_death_is_last),
    ),
    "deaths of draining workers count": (
        Edit(
            script="reclaim",
            old="unless_foreign('SISMEMBER', KEYS[2], ARGV[2]) == 1 and 0 or tonumber(ARGV[7])",
            new="tonumber(ARGV[7])",
        ),
        Replaced(where=Reclaimer, name="_last_death", value=_first_death_is_last),
    ),
    "what comes to a name that is gone has a death counted": (
        Edit(script="reclaim", old="1 and 0 or tonumber(ARGV[7])", new="1 and 0 or 1"),
    ),
    "what is handed to a dead worker as others take over has a death counted": (
        Edit(script="reclaim", old="local is_counted = ARGV[8] == '+' or", new="local is_counted = true or"),
    ),
    "a further try of a cancellation is another one": (
        Edit(script="cancel", old="local answer = redis.call('GET', answer_key)", new="local answer = nil"),
    ),
    "what was left is a dead letter after the grace, whoever lives": (
        Replaced(where=MisfitRecall, name="_is_over", value=_over_after_the_grace),
    ),
    "a worker takes again what it has left": (Replaced(where=Misfits, name="_consider", value=_take_anything),),
    "a read waits for longer than its worker's lease": (
        Replaced(where=Lease, name="remaining", value=property(_for_long)),
    ),
    "workers are dead when they are late": (Replaced(where=FailureDetector, name="look", value=_by_age_alone),),
    "fencing does not look for a new beat": (
        Edit(
            script="fence",
            old="if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '') ~= tonumber(ARGV[2]) then",
            new="if false then",
        ),
    ),
    "a lease is trusted for ever": (Replaced(where=Lease, name="is_trusted_at", value=_always_trusted),),
    "nobody beats while Redis is full": (Replaced(where=Registrar, name="renew", value=_beat_plainly),),
    "what is due waits behind what cannot be read": (
        Edit(script="move", old="    if not pcall(move, id) then", new="    if move(id) then"),
        Edit(script="move", old="        return keep_unreadable(id, stored)", new="        error('unreadable')"),
    ),
    "places of unique keys are kept": (
        Edit(script="", old="        unless_foreign('HDEL', keys.places, unique)\n", new=""),
        # The janitor would remove them in its turn.
        Edit(script="audit_keys", old="        redis.call('HDEL', keys.places, placed[2][at])\n", new=""),
    ),
    "a beat may say what it said before": (Replaced(where=Registrar, name="renew", value=_same_beat),),
    "orphans are taken at once": (
        Replaced(
            where=reclaimer,
            name="FailureDetector",
            value=_AtOnce,
        ),
    ),
    "reclaim takes what a living worker has": (
        Edit(script="reclaim", old="if redis.call('ZSCORE', KEYS[1], ARGV[2]) then", new="if false then"),
        Replaced(
            where=reclaimer,
            name="FailureDetector",
            value=_AtOnce,
        ),
    ),
    "a fetch asks nobody whether it may": (
        Edit(script="fetch", old="if not redis.call('ZSCORE', KEYS[1], ARGV[2]) then", new="if false then"),
    ),
    "a worker testifies at once": (Replaced(where=quarantine, name="_SECONDS_TO_TESTIFY", value=0.0),),
    "the first of several suspects is guilty": (Edit(script="testify", old="#held == 1", new="#held >= 1"),),
    "a worker that older data do not know cancels what it runs": (
        Replaced(where=Registrar, name="was_lost_with_data", value=_was_lost_with_all),
    ),
    "what ends before its worker is registered again is dropped": (
        Edit(
            script="",
            old="return not redis.pcall('ZSCORE', beside(keys, ':workers:registered'), worker)",
            new="return false",
        ),
    ),
    "those whom older data have as workers die of what they have there": (
        Edit(script="fence", old="    redis.pcall('SADD', KEYS[1] .. ':draining', ARGV[1])\n", new=""),
    ),
    "what was noted of older data counts for others with which Redis comes back later": (
        Edit(script="", old="noted_at > tonumber(last_beat)", new="noted_at > 0"),
    ),
    "a beat without an answer hides that Redis has older data": (
        Edit(script="", old="if not is_possible then\n        pcall", new="if false then\n        pcall"),
        Edit(script="", old="is_possible and beat or string.format('%.0f', before + 1)", new="beat"),
        Replaced(where=Beats, name="answered", value=_answered_whatever_was_before),
    ),
    "a witness does not look whether Redis has older data": (
        Edit(script="testify", old="local is_certain = ", new="local is_certain = true or "),
    ),
    "nobody looks for what was cancelled while it runs": (
        Replaced(where=Heartbeat, name="_find_cancelled", value=_find_none),
    ),
    "a step of a schedule is taken by all who ask": (
        Edit(
            script="fire",
            old="if redis.call('ZSCORE', KEYS[2], name) ~= due or tonumber(due) > now then",
            new="if false then",
        ),
    ),
    "a dead letter is sent again and stays": (
        Edit(script="resend", old="redis.call('XDEL', keys.dead, ARGV[1])\n", new=""),
    ),
    "a failed run is sent again by all who ask": (
        Edit(script="resend_run", old="if redis.call('ZSCORE', KEYS[4], ARGV[1]) then", new="if false then"),
    ),
    "a failed run is noted as sent again, and is not": (
        Edit(
            script="resend_run",
            old="    problem = add_to_stream(keys, KEYS[2], ARGV[4], ARGV[3], ARGV[2])",
            new="    problem = {ok = 'OK'}",
        ),
    ),
    "a failed run is sent again without its key": (
        Edit(script="resend_run", old="local holder = ARGV[3] ~= '' and", new="local holder = false and"),
    ),
    "what was acknowledged before it ran runs again": (
        Edit(script="", old="    if not will then\n        return false", new="    if true then\n        return false"),
    ),
    "what was acknowledged before it ran keeps its key when it is cut off": (
        Edit(
            script="",
            old="        release(keys, unique, task)\n        store_outcome(keys, unless_foreign('ZREM'",
            new="        store_outcome(keys, unless_foreign('ZREM'",
        ),
    ),
    "nobody hears of what is cut off": (
        Edit(
            script="",
            old="        store_outcome(keys, unless_foreign('ZREM'",
            new="        local _ = (unless_foreign('ZREM'",
        ),
        Edit(
            script="",
            old="== 1, send, result_key, result, keep, suffix)\n    end\n    forget_entry",
            new="== 1)\n    end\n    forget_entry",
        ),
    ),
    "an early acknowledgement is kept for ever": (
        Edit(script="settle", old="        unless_foreign('HDEL', early_key(keys), mark_of(stream, entry))\n", new=""),
    ),
    "what is acknowledged before it runs leaves its worker": (
        Edit(
            script="acknowledge",
            old="        redis.call('HSET', early_key(keys), mark_of(stream, entry), cmsgpack.pack(will))",
            new="        forget_entry(stream, group, entry)",
        ),
    ),
    "names of delayed messages have gaps": (
        Edit(
            script="",
            old="local function remove_delayed(keys, id, task)\n",
            new="local function remove_delayed(keys, id, task)\n    task = nil\n",
        ),
    ),
}
