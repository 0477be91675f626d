"""Traces of tasks, by OpenTelemetry's conventions for messaging.

A send is a span of the kind PRODUCER, in whatever span is current. Its context travels in the message, in the labels
that the propagators of OpenTelemetry write: `traceparent`, and `tracestate` and `baggage` if there are any. These are
the labels of taskiq's own `OpenTelemetryMiddleware`, so each reads what the other has sent. A run is a span of the kind
CONSUMER, and the child of the send: what is sent, or deleted, while it runs comes below it. So one trace leads from a
request through Redis to the batches of a clean-up.

    request ─ send a ─ process a (try 1) ╌╌ link ╌╌ process a (try 2) ─ send b ─ process b
                     └──────────────────────────────┘

- All tries are children of the one send. In `previous_try`, a label of ours, a message that is sent again names the
  try that has failed, and the next one links to it. A message that is taken over from a dead worker is the same one:
  its runs stand side by side, and count the workers that went down.
- `kiq_many` is one span, and the parent of all runs.
- What a schedule sends begins a trace. Of several schedulers one sends, and a message may be made in vain; a span whose
  message was not sent is dropped without having ended, so it is never exported.
- A run ends when Redis has taken what becomes of it, or another worker has it. So the span ends with the asyncio task
  that runs it, whatever cuts that off, and not with a hook, which may never be called.

Why not taskiq's middleware: a send that fails leaves its span open and current in its caller, and so does a run that is
cut off; `kiq_many` is as many spans as calls; what a schedule sends is never exported; a retry is not linked, and its
error is the exception's text as it is, with whatever secrets that has; and it counts in metrics of its own.

What comes from a stranger: of labels, only text of at most 8 KiB is read, by the propagators, which take what is
malformed for nothing. A well-formed one decides to which trace a run belongs and whether it is sampled, and nothing
else.

Nothing of this is imported unless `TASKS_TRACING` is on or a program adds a `TracingMiddleware`. Without a tracer
provider there are no spans, and messages carry nothing.
"""
