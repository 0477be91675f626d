import io
from datetime import UTC, datetime, timedelta

from rich.console import Console
from taskiq import InMemoryBroker

from kiqstart.cli.tasks.listing import tasks_table
from kiqstart.scheduler.table import CronSchedule, IntervalSchedule
from kiqstart.tasks.registration import register_task
from todo_service.delivery.tasks.controllers.ping import PingTaskController


async def send_mail(user_id: int, *, subject: str = "Hello") -> None: ...


def test_a_table_names_arguments_retries_and_next_runs() -> None:
    broker = InMemoryBroker()
    PingTaskController().register(broker)
    register_task(broker, send_mail, name="mail.send", max_retries=2, retry_delay=90)
    register_task(broker, send_mail, name="news.send", queue="low")
    schedules = [
        IntervalSchedule(name="a", task="mail.send", every=timedelta(hours=6), arguments={"user_id": 1}),
        CronSchedule(
            name="b", task="mail.send", cron="30 1 * * *", time_zone="Europe/Berlin", arguments={"user_id": 2}
        ),
    ]
    now = datetime(2026, 7, 1, 5, 0, tzinfo=UTC)
    out = io.StringIO()
    Console(file=out, width=100).print(tasks_table(list(broker.get_all_tasks().values()), schedules, now=now))
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert "mail.send 2, 90 s apart every 6 h 2026-07-01 06:00:00" in lines
    assert "user_id: int user_id=1" in lines
    # Half past one in Berlin's summer.
    assert "subject: str = 'Hello' 30 1 * * * Europe/Berlin 2026-07-01 23:30:00" in lines
    assert "ping - - -" in lines
    assert lines[lines.index("news.send - - -") + 1] == "in the queue low"
    assert sum("in the queue" in line for line in lines) == 1
