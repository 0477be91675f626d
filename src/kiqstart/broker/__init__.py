"""A broker on Redis Streams from which no accepted task is lost: the protocol.

Where to start reading: `broker.StreamBroker` is what a project uses; `lua/` holds every step that changes Redis; each
is atomic, and this page says why together they lose nothing. What reads or writes Redis raises redis-py's `RedisError`
where that is away; within this package only those docstrings say so that also say what was done by then.

States of a message, and who may move it
----------------------------------------

    waiting     an entry of a queue's stream: send.lua adds it, for whoever called `kiq()`
    delayed     in a sorted set, with its time: send.lua or settle.lua adds it, the janitor's move.lua moves it when due
    delivered   pending, with one worker's name: fetch.lua, or a read that waits
    settled     gone: settle.lua, for the worker that has it
    left        in a stream that nobody reads, since a worker did not know its task or take its arguments: settle.lua;
                adopt.lua hands it to a worker that may run it, and recall.lua gives it back where none is there. What
                is read of a paused task, or of a task's paused calls, is left, too, and taken by nobody until it is
                resumed
    returned    waiting again, before others: give_back.lua for the worker that has it; reclaim.lua for any worker, once
                the one that has it is dead
    suspect     returned, after its workers have died repeatedly: reclaim.lua; it runs in quarantine
    isolated    a suspect that runs alone next, since the quarantine in which it ran among others has died: testify.lua
    cancelled   gone, with the error as its result: cancel.lua and cancel_entry.lua for what waits; move.lua and
                settle.lua for what is marked
    dead        in the stream of dead letters: settle.lua, or condemn.lua after the last death; resend.lua makes it wait
                anew, for whoever asks
    failed      settled; as long as its run is kept, resend_run.lua makes it wait anew once, for whoever asks

A message that is moved is a new entry, and the old one is deleted in the same step. So an entry's id stands for one
delivery to one worker: as long as it is pending, nobody else has ever had it, and once it is not it is somebody else's.
That is the only proof of ownership there is, and settle.lua does nothing without it (an entry that it could delete was
this worker's still). Whatever an end of a delivery brings (acknowledgement, deletion, result, next try, dead letter,
release of a unique key) happens in that one step or not at all. There is no `XCLAIM`.

A step is atomic against others, not against its own errors: what it did before a command that Redis refuses (a right
that the user lacks, a key of another type) stands. So each step first looks whether it may, then adds, then removes;
what may fail for one message of several is called so that it fails for that one; and `registrar` looks at a worker's
start whether Redis is one that this version understands. Every script takes its time as its last argument ('' asks
Redis), so that a simulation can run them all.

The lease
---------
A worker is alive as long as it beats. It registers under a name that is new each time and says how long its lease is
(register.lua), and a thread of its own renews that once in a fifth of it, whatever the event loop does: a task that
blocks the loop for an hour is safe. What the thread cannot outlast is a call in C that holds Python's interpreter lock
for longer than the lease; such a process counts as standing still. A beat is one command, with Redis' time as the
worker knows it: ZADD with the step from the last one, to which the answer shows what Redis had, or a script that has it
in it (watch.lua, tend.lua).

What a beat says does not matter, only that it changes. Others take a worker for dead whose beat they have seen
unchanged for nine tenths of the lease in its name, by their own clock, without a gap (`failure_detector`); they look
when that time is over, not only with their next beat. When Redis was frozen, away or slow, or the watcher itself stood
still, all that was seen before is forgotten, and live workers have the time to beat again. Redis' clock may be set as
one likes. Then fence.lua removes the name, unless it has beaten since, and reclaim.lua gives back what is pending under
it. The name stays among the lost ones, with host and pid and what it ran, for whoever asks which machine that was.

A worker that stood still finds its name gone with its next beat. Until that beat is answered it starts nothing
(`lease.Lease.is_trusted`: it counts from when its last renewal began, by its own clock, and trusts that for less than
others would wait). After it, all that it had is another's: running tasks are cancelled, their results dropped; it goes
on under a new name. What it runs in the meantime can still end in settle.lua, which refuses it.

A worker whose event loop is blocked is alive. Its thread gives back what has not begun, so that others run it.

The janitor
-----------
One of the registered workers has the role: it looks at all beats with each of its own, moves what is due, bounds what
is kept, frees unique keys whose tasks are gone and forgets queues that nobody takes. The role is free where the worker
that has it is not registered, so it ends with that worker's lease; one that leaves hands it on. The others look, the
less often the more they are, for workers that are late, the janitor among them.

A look and a beat are the same step, so that an idle worker sends one command with each beat: the janitor tend.lua,
which also finds what is pending under names that are no workers'; the others watch.lua, or ZADD where they do not look.
If Redis refuses what is looked at, the beat is sent by itself: the lease depends on nothing else.

Tasks that kill their workers
-----------------------------
That a worker died with a task says little: with `kill -9`, a full machine or a deploy it says nothing at all. A worker
that was asked to end says so first (`draining`), and its death is not counted. Otherwise each task that it had has one
death more, and after `max_deliveries - 1` of them is a suspect. Nothing waits for suspects, and they hold up nothing: a
worker that sees some starts a process of its own for them, its quarantine, and watches it (`quarantine`; up to three
more of them while suspects wait still, and one worker after the other). If such a process dies unannounced, and half a
second later the worker still lives and was not asked to end, the worker is a witness (testify.lua): a task that was
alone in it is guilty, and a dead letter. Few suspects run one by one in each process; of many, up to 16 run at once,
and if the process dies, each of them alone. If the worker dies with its quarantine, there is no witness, and nobody is
guilty. So no number of workers that are killed makes a dead letter of an innocent task (but see
`reclaimer._LAST_DEATH`, which bounds a task that kills the worker beside it as well); and a guilty one ends after its
tries. A worker that cannot start such a process (a broker that no module holds or makes) takes one suspect at a time
beside its other tasks, and counts to two more.

Where a single death is allowed, a task that was alone with a dead worker has had it, and is a dead letter without a
witness; what of several it was is found out in quarantine. Where quarantine is switched off, deaths are counted, and
say enough.

Several versions
----------------
A worker leaves a message that it cannot run to others, and an index of all queues says of each: its task, and the
shapes of that task's function which do not take its arguments (`call_shape`). While there is anything in it, as the
janitor's role says, each worker looks through the index once, a page at a time, for tasks that it has in another shape,
notes these, says so, and takes them when it has room (`misfits`). So nobody takes again what it has left, nor what its
like has left. The janitor takes back what has been there for the grace if in that time nobody has said that it may take
it (`misfit_recall`): whoever reads it then ends it. A worker that is busy for long goes on saying it, by the lease's
thread; one that was asked to end does not. Without such messages, none of this costs a worker a command.

Cancelling
----------
cancel.lua marks the id and takes out what is delayed. From then on whatever comes upon the id ends it: a worker that
reads it, a retry (settle.lua), the move of what is due. fetch.lua hands out the marks with the messages while they are
few. A read that waits asks for the number of marks in the same breath, so that an id that was cancelled before its task
was sent is known with it, and so does one of large messages after it. Then the caller looks through the streams: what
waits is taken out (cancel_entry.lua), and of what runs the entry is marked, which its worker's thread sees. When all of
it was found, the mark of the id goes (unmark.lua), unless another cancellation has set it since; the mark of an unknown
id stays for `cancel_age`. What cancel.lua has answered is remembered for as long as it may be tried again: a further
try is answered the same and marks nothing anew, so that a task which cleans up already is not cut off as if it were
cancelled once more; and a copy that was on its way for long cancels nothing that was sent since.

The id is free then, though a marked run may take its time to end.

An id that is sent again
------------------------
A send of an id that another task may have had carries a random value as a label, which stays with the message wherever
it goes; it removes the result that is there, and a hash says that the result is that send's (`:latest`). What ends
stores its result only if it is that send. The entry of the hash goes with the end of that task; from then on what is
there is its result, and nothing else overwrites one. An id that a sender has made for itself costs nothing of this.

Unique keys
-----------
A hash has each key's task, and another one where that task is, which each move updates. The janitor looks at these
places in turn; a key whose task is not there, nor anywhere else, is freed.

Acknowledged before they run
----------------------------
Such a delivery, and one that is acknowledged when it has run and before its result is there, stays pending with its
worker until it has ended, like any other, so that it is found and cancelled, and its unique key is held.
acknowledge.lua notes it in a hash beforehand, with the result that its caller gets where the
worker does not end it. Whatever would give the entry to others (give_back.lua, reclaim.lua, testify.lua) ends it with
that result instead.

What is kept of ended runs
--------------------------
A worker writes what one may ask of a run later (`run_record`), and the step that ends it, settle.lua or condemn.lua,
adds that to one of two streams, failures apart so that they outlive the rest. It comes after all else in the step, only
for deliveries that were still this worker's and whose end Redis has not refused; it raises no error, whatever is wrong
with the streams. So it can neither lose a task, nor end one twice, nor hold one up, and a step that is repeated since
its answer was lost finds nothing to end and adds nothing. Runs that end together are one entry, so that a task costs no
command; an entry's id counts runs, not entries, and by that each step bounds how many are kept. Their age and their
bytes are the janitor's (bound_runs.lua). Nothing of the protocol reads them, but for what follows.

A failed run that left no dead letter can be sent again (resend_run.lua), since its message is kept as it came, signed
and encrypted if it was, and redacted only where it is shown. It is there whole up to 2 KiB; a longer one is cut, and
what was cut is refused. More is not kept for that: between two looks of the janitor only the number of runs is
bounded, so a storm of failures with large messages would take a multiple of the bytes that are allowed; a task whose
messages are that large has a dead letter that keeps them whole, if it has `max_retries`. A letter is sent once because
it goes; a run stays, to be read. So a mark says that it was sent: in one step with the message, and before it, so that
of two who ask, or of a try that is repeated for want of an answer, one sends it. Marks go with their runs: each step
drops those of runs that are kept no longer, and Redis all of them once every run must be gone. Who asks names a task,
and its last run is meant: an earlier one would run beside what was sent since. That the task waits or runs again,
since its id was sent anew by somebody else, is looked for beforehand and not in the step, as for any id that is sent
again.

What each fault leaves
----------------------
- A worker is killed: its entries stay pending under its name, until they are reclaimed. An entry may also be pending
  under a name that no longer exists (a command of a fenced worker that arrived late, or what a worker could not give
  back before it left): reclaim.lua is used for those as well, every few seconds, by the janitor; it counts no death
  then. Nor does it where such a command comes between the end of the lease and reclaim.lua: fence.lua says up to which
  entry of each stream the worker had what it had. What was handed to it before that may not have reached it either;
  nobody can tell without a step for each task that begins, and so its death counts.
- A worker stands still: a read of its that waits in Redis is over before its lease is, so it is not handed what others
  give back for it.
- A connection is cut in the middle of a read: Redis has delivered what never arrived. Each worker compares what is
  pending under its name with what it has, and gives the difference back. Should the answer arrive after all, it is
  refused (`in_flight.InFlightDeliveries`).
- A connection is cut in the middle of a send: the batch is sent again under its number, which send.lua remembers with
  what it answered, and answers again. Whichever copy comes first counts, even if the first one was stuck in a frozen
  server and comes last. What a caller has given up in between is left out.
- A connection is cut while settling: the step is repeated. If the first one did arrive, the second finds nothing to do.
- A connection is cut while a task is condemned or moved: whoever has the role repeats it; it is done or not at all.
- Redis refuses what became of a task (a result too large): the task ends with that error instead.
- Redis restarts with its data: nothing is missing, since each step is atomic there too. The scripts are sent anew.
- Redis comes back empty: what waited is gone; only its append-only file could have saved it. The epoch, a random value
  beside the queue, is gone too. By that workers know that their names were not taken from them; they register again, go
  on with what they run, and settle.lua stores results although there is nothing to acknowledge.
- Redis comes back with older data: of a worker that is still registered nobody has taken anything, since its lease is
  ended before that; nor of one that these data never knew (`:workers:registered` has the names of all that
  registered, also of those that are gone), which registers again. So what such a worker runs and those data do not
  have as pending was lost with the data: settle.lua stores its result and what follows as in an empty Redis, and
  takes it out where it waits. Of a step that is repeated for want of an answer, which may have been done, only the
  result is stored. A registered worker sees it by its beat, to which Redis answers which one it had before (`beats`).
  With the first such beat Redis notes who is registered (library.lua), whether its answer comes or not; each worker
  gives back what it does not have, and takes itself out of that. Whoever is in it when its lease is ended may have
  been gone before, and counts as one that was asked to end (fence.lua). Older data may have what was noted when Redis
  came back before: it is older than the last beat that Redis had answered to whoever sees it, who notes all anew. A
  witness whose quarantine has seen to another loss of data last, or runs something still from before it, or for which
  Redis has another beat than its last, makes nobody guilty (testify.lua).
- A worker is asked to end: it gives back what it has not started, then waits, then gives back what still runs after
  having cancelled it and what a read that was broken off was handed, and leaves (leave.lua). None of that counts as
  going down with a worker.
- A delayed message is of a layout that this version does not know: it is left to those that know it for a minute, then
  becomes a dead letter as it is. A worker does not start where the queue's layout is a newer one, or its group another.

When a task runs twice
----------------------
Only where its first run was cut off: by the death of its process, by standing still for longer than the lease, or at
the end of the grace period. A run that has ended, but whose settling was not answered before the process died, may have
been settled or not; if not, it runs again.
"""

from typing import TYPE_CHECKING

from kiqstart.lazy_names import lazy_names

if TYPE_CHECKING:
    from kiqstart.broker.broker import StreamBroker
    from kiqstart.broker.cancellation import CancelOutcome
    from kiqstart.broker.dead_letter import (
        DeadLetter,
        DeadLetterError,
        DeadLetterNotFoundError,
        UniqueKeyHeldError,
        UnreadableDeadLetterError,
    )
    from kiqstart.broker.dead_letters import DeadLetters
    from kiqstart.broker.delivery import DeadLetterReason
    from kiqstart.broker.factory import create_broker
    from kiqstart.broker.in_memory import DelayingInMemoryBroker
    from kiqstart.broker.lifecycle import check_at_start, close_at_end
    from kiqstart.broker.operator_acts import UnansweredError
    from kiqstart.broker.options import StreamOptions
    from kiqstart.broker.retries import RetryMiddleware
    from kiqstart.broker.rights import MissingRightsError
    from kiqstart.broker.run_decoding import Run
    from kiqstart.broker.run_filter import RunFilter
    from kiqstart.broker.run_stats import Outcome
    from kiqstart.broker.runs import read_runs, walk_runs
    from kiqstart.broker.sender import QueueFullError, SendFailedError
    from kiqstart.broker.settings import TasksSettings
    from kiqstart.broker.stats import QueueCount, QueueStats, count_tasks
    from kiqstart.redis.client import RedisUnavailableError
    from kiqstart.redis.settings import RedisSettings
    from kiqstart.redis.url import InvalidRedisUrlError
    from kiqstart.tasks.results.errors import TaskTooLargeError, UntrustedTaskError
    from kiqstart.tasks.sealing.errors import SealingError
    from kiqstart.tasks.sealing.sealing import Sealing
    from kiqstart.tasks.task_ids import InvalidTaskIdError

__all__ = [
    "CancelOutcome",
    "DeadLetter",
    "DeadLetterError",
    "DeadLetterNotFoundError",
    "DeadLetterReason",
    "DeadLetters",
    "DelayingInMemoryBroker",
    "InvalidRedisUrlError",
    "InvalidTaskIdError",
    "MissingRightsError",
    "Outcome",
    "QueueCount",
    "QueueFullError",
    "QueueStats",
    "RedisSettings",
    "RedisUnavailableError",
    "RetryMiddleware",
    "Run",
    "RunFilter",
    "Sealing",
    "SealingError",
    "SendFailedError",
    "StreamBroker",
    "StreamOptions",
    "TaskTooLargeError",
    "TasksSettings",
    "UnansweredError",
    "UniqueKeyHeldError",
    "UnreadableDeadLetterError",
    "UntrustedTaskError",
    "check_at_start",
    "close_at_end",
    "count_tasks",
    "create_broker",
    "read_runs",
    "walk_runs",
]

__getattr__ = lazy_names(
    __name__,
    {
        "kiqstart.broker.broker": "StreamBroker",
        "kiqstart.broker.cancellation": "CancelOutcome",
        "kiqstart.broker.dead_letter": (
            "DeadLetter DeadLetterError DeadLetterNotFoundError UniqueKeyHeldError UnreadableDeadLetterError"
        ),
        "kiqstart.broker.dead_letters": "DeadLetters",
        "kiqstart.broker.delivery": "DeadLetterReason",
        "kiqstart.broker.factory": "create_broker",
        "kiqstart.broker.in_memory": "DelayingInMemoryBroker",
        "kiqstart.broker.lifecycle": "check_at_start close_at_end",
        "kiqstart.broker.operator_acts": "UnansweredError",
        "kiqstart.broker.options": "StreamOptions",
        "kiqstart.broker.retries": "RetryMiddleware",
        "kiqstart.broker.rights": "MissingRightsError",
        "kiqstart.broker.run_decoding": "Run",
        "kiqstart.broker.run_filter": "RunFilter",
        "kiqstart.broker.run_stats": "Outcome",
        "kiqstart.broker.runs": "read_runs walk_runs",
        "kiqstart.broker.sender": "QueueFullError SendFailedError",
        "kiqstart.broker.settings": "TasksSettings",
        "kiqstart.broker.stats": "QueueCount QueueStats count_tasks",
        "kiqstart.redis.client": "RedisUnavailableError",
        "kiqstart.redis.settings": "RedisSettings",
        "kiqstart.redis.url": "InvalidRedisUrlError",
        "kiqstart.tasks.results.errors": "TaskTooLargeError UntrustedTaskError",
        "kiqstart.tasks.sealing.errors": "SealingError",
        "kiqstart.tasks.sealing.sealing": "Sealing",
        "kiqstart.tasks.task_ids": "InvalidTaskIdError",
    },
)
