"""Retention policies as tasks: where the retention engine, which knows no task queue, meets taskiq.

`runner.CleanupRunner` runs a policy for a task of one's own; `task.RetentionTask` is the task `retention.run`, by which
policies are sent and scheduled without one.
"""
