"""Runs workers for any taskiq broker: one in this very process, or several under a light parent.

What `taskiq worker` does, without its process manager where one worker is enough.

- `command`: where it begins; `options` has the command line's arguments, which are taskiq's.
- `runner`: one worker, in this process; `loading` finds its broker.
- `supervisor`: the parent of several. It imports neither taskiq nor anything else of size.
- `group_port`: with `--port`, what that parent answers for all of them.
- `worker_process`: what the parent starts.
- `ward`: the process that a worker starts, by `ward_main`, for tasks whose workers have died repeatedly;
  `kiqstart.broker` says what it is for ("Tasks that kill their workers"), and has the worker's end of it.

Only `runner`, `ward` and what they use may import more than the standard library, and nothing of it is imported before
it is known that a worker is to run here.
"""
