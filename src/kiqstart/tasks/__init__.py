"""The contract of tasks: what a task is, how it is named, typed, sent and waited for."""
