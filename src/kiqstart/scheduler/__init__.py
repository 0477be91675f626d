"""Schedules of which every due time is sent once, by any number of schedulers: the protocol.

Where to start reading: `source.DurableScheduleSource` is what a project gives to taskiq's scheduler, and
`scheduler_loop.SchedulerLoop` is what it does; `backlog` reads what is due, `message_builder` makes the messages,
`step_taker` takes the steps; `lua/` holds every step that changes Redis, and takes the time at which it runs as an
argument; `triggers` and `misfires` say when something is due, and know neither clock nor store.

What is kept
------------
Beside the broker's streams, under the same hash tag, are: each schedule's definition as JSON (what is sent, with which
labels, when, and what is done with missed times); a sorted set with the time at which each is due; what each did last;
the names, the fingerprint and the number of the table that is in effect; and when each scheduler last polled.
Schedulers send what is kept, not what stands in their own table: an older scheduler that still runs sends what a newer
one has put into effect.

A definition may have a version, `v`; one without is of version 1. A scheduler that cannot read a definition, of
whatever version, leaves it where it is, since another one may be able to, and skips it. Only when it has seen it
overdue at the same time for ten minutes does it set it aside, where an operator finds it.

A step
------
A schedule is due at one time. A *step* moves it to the next one, and sends the message of the time it leaves, in one
script (fire.lua). The step names the time and the definition that it starts from. Where either is another one by now,
somebody else has taken the step, or the schedule has been changed, paused or removed, and nothing happens. So each time
is sent once, whoever asks, in which order, how often, and however long ago; no scheduler has to hold a lease.

A script is atomic against others, and not against its own errors: a user may lack the right to one command, a key may
be of another type, memory may be full. So a step moves the schedule first, sends then, and moves it back where the send
is refused: an error sends no time twice and loses none. Redis remembers for ten minutes what a scheduler's last script
was answered. A scheduler whose answer was lost asks for it, so that what was sent is told, and a script that arrives
twice does nothing the second time. Adding schedules works in the same way.

The task's id is `name@time`, and the label `scheduled_at` has the time, so a task needs no clock to know which run it
is. The label `scheduled_late` has the seconds by which it was sent late, where that is more than one.

One schedule, one guard
-----------------------
All that a scheduler does with one schedule before its step (reading it, computing its times, calling the middlewares,
checking what Redis would refuse) happens in `MessageBuilder._make`, a task of its own: whatever it raises, and however
long it takes, concerns that schedule alone. The keys that only help (who polls, when anybody polled, what was last) may
hold anything. What is due is read in pages, in pieces of some MiB, and sent in scripts of 200 steps or 4 MiB.

Missed times
------------
What was due while nobody could send is still due when somebody can: the schedule stands at the first time that was
missed. `misfires` says what is sent of those times: the last one, all up to a bound, or none.

Whose clock
-----------
Redis' time counts, so schedulers with wrong clocks do no harm; they log that they are wrong. Between two polls the time
is read off a clock that nobody sets. Where Redis' own clock is set back by more than a minute, times that come again
are sent again, as cron does it; what is less is waited for. The store keeps the latest time at which anybody polled, so
that it is noticed by whoever polls next, also after a restart, and by nobody who was merely frozen.

Several schedulers
------------------
All do the same; a step is taken by the first who asks. They line up by name: each polls 50 ms after the one before it,
and thus mostly finds the work done. When the first one dies, the second is 50 ms late for some seconds, and is then the
first.

What each fault leaves
----------------------
- A scheduler is killed or frozen: nothing of it is needed. What a thawed one has in hand starts from a time that is
  over, and is refused.
- Redis is away: schedulers go on trying. What was missed is caught up as each schedule says.
- Redis comes back empty: schedules of the table are put into effect again by those that know them, and are due when
  they would have been since that scheduler's last poll, at most half a second before; schedules that were added are
  gone, and only an append-only file could have saved them.
- Redis comes back as it was some time ago: what was due since then is due again, and caught up as each schedule says.
  The table's number is lower than one that a scheduler has seen, which tells that from a deploy: the latest table is
  put into effect again.
- Redis is full, cannot write, or its user lacks a right: steps are refused, and tried again for as long as that lasts;
  nothing counts as failed.
- A message cannot be made (a middleware raises or hangs): it is tried again until the send's deadline, beside all
  others; then its time alone counts as failed, and the schedule goes on.
- What is kept under a name is no schedule: it is reported once, skipped, and set aside after ten minutes.
"""

from typing import TYPE_CHECKING

from kiqstart.lazy_names import lazy_names

if TYPE_CHECKING:
    from kiqstart.scheduler.conversions import ScheduleError
    from kiqstart.scheduler.definition import CatchUp
    from kiqstart.scheduler.schedules import Schedules, ScheduleState
    from kiqstart.scheduler.source import DurableScheduleSource
    from kiqstart.scheduler.table import CronSchedule, IntervalSchedule, Schedule, StaticSchedules, check_schedules

__all__ = [
    "CatchUp",
    "CronSchedule",
    "DurableScheduleSource",
    "IntervalSchedule",
    "Schedule",
    "ScheduleError",
    "ScheduleState",
    "Schedules",
    "StaticSchedules",
    "check_schedules",
]

__getattr__ = lazy_names(
    __name__,
    {
        "kiqstart.scheduler.conversions": "ScheduleError",
        "kiqstart.scheduler.definition": "CatchUp",
        "kiqstart.scheduler.schedules": "ScheduleState Schedules",
        "kiqstart.scheduler.source": "DurableScheduleSource",
        "kiqstart.scheduler.table": "CronSchedule IntervalSchedule Schedule StaticSchedules check_schedules",
    },
)
