"""Figures for Prometheus, and whether a process is well: on the ports of workers and schedulers, and elsewhere.

All figures are in Redis, where workers, schedulers and senders add up what they count (`broker.run_stats`,
`broker.sent_stats`, `scheduler.scheduler_stats`, `retention.figures`). So whoever is asked gives the same ones, those
of all processes together, and a process that ends takes nothing with it:

- `figures` reads them, and `families` gives them the names and types that Prometheus knows;
- `page` is the text of both, shared by all who ask within a second;
- `health` says whether this process is well, by what it can see of itself;
- `server` answers at a port, in a thread with an event loop and a connection of its own, so that what blocks the loop
  of the process silences nobody. Where several workers have one parent, each of them answers the parent, which answers
  for all (`worker.group_port`).
"""
