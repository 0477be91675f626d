"""Runs workers for any taskiq broker: one in this very process, or several under a light parent.

What `taskiq worker` does, without its process manager where one worker is enough.

- `options`: the command line's arguments, which are taskiq's.
- `serving`: one worker, in this process; `loading` finds its broker, `ending` takes its signals.
- `group`: the parent of several. It imports neither taskiq nor anything else of size.
- `member`: what the parent starts.
- `ward`: the process that a worker starts for tasks whose workers have died repeatedly; `ward_process` is that worker's
  end of it, `ward_orders` what it is told. `streams` says what it is for ("Tasks that kill their workers").

Only `serving`, `ward` and what they use may import more than the standard library, and nothing of it is imported before
it is known that a worker is to run here.
"""
