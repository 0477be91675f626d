"""The keys in which schedules lie; docs/schedules.md says what bounds each of them."""

import uuid

from kiqstart.broker.keys import QueueKeys


class ScheduleKeys:
    """The keys beside a queue's own, under its hash tag."""

    def __init__(self, keys: QueueKeys) -> None:
        base = keys.schedules
        self.definitions = base
        self.due = f"{base}:due"
        self.last = f"{base}:last"
        self.table = f"{base}:table"
        self.table_number = f"{base}:table:number"
        self.table_names = f"{base}:table:names"
        self.paused = f"{base}:paused"
        self.aside = f"{base}:aside"
        self.schedulers = f"{base}:schedulers"
        self.looked = f"{base}:looked"
        # Of whoever adds through this object.
        self.added = f"{base}:added:{uuid.uuid4().hex}"

    def answers(self, scheduler: str) -> str:
        """What a scheduler's last script was answered."""
        return f"{self.definitions}:answers:{scheduler}"
