"""Schedules of which every due time is sent once, by any number of schedulers: the protocol.

Where to start reading: `source.DurableScheduleSource` is what a project gives to taskiq's scheduler; `ticker.Ticker` is
what it does; `lua/` holds every step that changes Redis; `timing` and `making_up` say when something is due, and know
neither clock nor store.

What is kept
------------
Beside the broker's streams, under the same hash tag, are: each schedule's definition as JSON (what is sent, with which
labels, when, and what is done with missed times); a sorted set with the time at which each is due; what each did last;
the names and the fingerprint of the table that is in effect; and when each scheduler looked last. Schedulers send what
is kept, not what stands in their own table: an older scheduler that still runs sends what a newer one has put into
effect.

A step
------
A schedule is due at one time. A *step* moves it to the next one, and sends the message of the time it leaves, in one
script (fire.lua). The step names the time and the definition that it starts from. Where either is another one by now,
somebody else has taken the step, or the schedule has been changed, paused or removed, and nothing happens. So each time
is sent once, whoever asks, in which order, how often, and however long ago; no scheduler has to hold a lease. A try
whose answer was lost is simply repeated: it finds the schedule at its next time.

The task's id is `name@time`, and the label `scheduled_at` has the time, so a task needs no clock to know which run it
is. The label `scheduled_late` has the seconds by which it was sent late, where that is more than one.

Missed times
------------
What was due while nobody could send is still due when somebody can: the schedule stands at the first time that was
missed. `making_up` says what is sent of those times: the last one, all up to a bound, or none.

Whose clock
-----------
Redis' time counts, so schedulers with wrong clocks do no harm; they log that they are wrong. Between two looks the time
is read off a clock that nobody sets. Where Redis' own clock is set back by more than a minute, times that come again
are sent again, as cron does it; what is less is waited for. The store keeps the latest time at which anybody looked, so
that it is noticed by whoever looks next, also after a restart, and by nobody who was merely frozen.

Several schedulers
------------------
All do the same; a step is taken by the first who asks. They line up by name: each looks 50 ms after the one before it,
and thus mostly finds the work done. When the first one dies, the second is 50 ms late for some seconds, and is then the
first.

What each fault leaves
----------------------
- A scheduler is killed or frozen: nothing of it is needed. What a thawed one has in hand starts from a time that is
  over, and is refused.
- Redis is away: schedulers go on trying. What was missed is made up as each schedule says.
- Redis comes back empty: schedules of the table are put into effect again by those that know them, and are due when
  they would have been since that scheduler's last look, at most half a second before; schedules that were added are
  gone, and only an append-only file could have saved them.
- A message cannot be made (a middleware raises or hangs): it is tried again until the send's deadline, beside all
  others; then its time counts as failed, and the schedule goes on.
- What is kept under a name is no schedule: it is set aside, and reported once.
"""
