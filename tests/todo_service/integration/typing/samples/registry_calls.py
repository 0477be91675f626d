"""Calls that the type checkers must accept, and calls that they must reject (marked `# error`)."""

from taskiq import AsyncBroker

from kiqstart import SyncRunner, register_task, sync
from todo_service.delivery.tasks.controllers.ping import PingResult
from todo_service.delivery.tasks.controllers.session_cleanup import SessionCleanupResult
from todo_service.delivery.tasks.controllers.todo_cleanup import TodoCleanupResult
from todo_service.delivery.tasks.registry import TasksRegistry


async def right_calls(registry: TasksRegistry) -> None:
    await registry.session_cleanup.kiq()
    await registry.session_cleanup.kiq(7)
    await registry.session_cleanup.kiq(days_old=7)
    await registry.session_cleanup.kicker().with_labels(priority=1).kiq(days_old=0)
    await registry.session_cleanup.kiq(days_old=7, shards=2, row_limit=100_000, time_budget=1200.0, dry_run=True)
    await registry.todo_cleanup.kiq()
    await registry.todo_cleanup.kiq(shards=4, row_limit=None, time_budget=None, dry_run=False)


async def right_calls_of_many(registry: TasksRegistry) -> None:
    clean_up = registry.session_cleanup
    await clean_up.kiq_many(clean_up.call(days_old) for days_old in range(3))
    await clean_up.kiq_many([clean_up.call(), clean_up.call(days_old=7, dry_run=True)])
    sent = await clean_up.kicker().with_labels(priority=1).after(60).kiq_many([clean_up.call(7)])
    deleted: int = (await sent[0].wait_result(timeout=1)).return_value["deleted_count"]
    print(deleted)
    for pong in await registry.ping.kiq_many(registry.ping.call() for _ in range(3)):
        text: str = (await pong.wait_result()).return_value["result"]
        print(text)


async def right_results(registry: TasksRegistry) -> None:
    pong: PingResult = (await (await registry.ping.kiq()).wait_result(timeout=1)).return_value
    sessions: SessionCleanupResult = (await (await registry.session_cleanup.kiq()).wait_result()).return_value
    todos: TodoCleanupResult = (await (await registry.todo_cleanup.kiq()).wait_result()).return_value
    deleted: int = sessions["deleted_count"] + todos["todos_deleted"] + todos["users_processed"]
    first_error: str = todos["errors"][0]["error"]
    print(pong["result"], deleted, first_error)
    if (report := sessions["report"]) is not None:
        stopped: str = report.stopped
        key: str | int = report.errors[0].key["id"]
        print(stopped, report.resumed, report.deleted / report.seconds, key)
    if (preview := todos["preview"]) is not None:
        share: float = preview.rows / preview.table_rows
        print(share)


async def right_values(registry: TasksRegistry) -> None:
    sent = await registry.session_cleanup.kiq()
    deleted: int = (await sent.result(timeout=1))["deleted_count"]
    text: str = (await registry.ping.task(sent.task_id).result())["result"]
    print(deleted, text)


def right_calls_of_code_that_is_not_async(registry: TasksRegistry, made: SyncRunner) -> None:
    with sync(registry) as run:
        deleted: int = run(run(registry.session_cleanup.kiq()).result())["deleted_count"]
    print(deleted, made(registry.ping.kiq()).task_id)


def add(left: int, right: int = 1) -> int:
    return left + right


async def options_and_functions_that_are_not_async(broker: AsyncBroker) -> None:
    task = register_task(broker, add, name="add", max_retries=3, labels={"tenant": "acme"})
    total: int = await (await task.kiq(1, right=2)).result()
    print(total)
    await task.kiq("1")  # error
    register_task(broker, add, name="more", max_retry=3)  # error
    text: str = await (await task.kiq(1)).result()  # error
    print(text)


async def wrong_calls(registry: TasksRegistry) -> None:
    await registry.session_cleanup.kiq(days_old="7")  # error
    await registry.session_cleanup.kiq(days=7)  # error
    await registry.session_cleanup.kiq(7, None, 3)  # error
    await registry.ping.kiq(1)  # error
    await registry.todo_cleanup.kiq(user_id=1)  # error
    await registry.todo_cleanup.kiq(4)  # error
    await registry.session_cleanup.kiq(7, 2)  # error
    await registry.session_cleanup.kiq(shards="2")  # error
    await registry.session_cleanup.kiq(shards=None)  # error
    await registry.session_cleanup.kiq(row_limit=1.5)  # error
    await registry.todo_cleanup.kiq(time_budget="20 min")  # error
    await registry.todo_cleanup.kiq(dry_run="yes")  # error
    await registry.user_cleanup.kiq()  # error
    await registry.session_cleanup.kicker().kiq(days_old=None)  # error


async def wrong_calls_of_many(registry: TasksRegistry) -> None:
    clean_up = registry.session_cleanup
    await clean_up.kiq_many([clean_up.call(days_old="7")])  # error
    await clean_up.kiq_many(clean_up.call(days=days) for days in range(3))  # error
    await clean_up.kiq_many([7, 8])  # error
    await clean_up.kiq_many([{"days_old": 7}])  # error
    await clean_up.kiq_many(clean_up.call())  # error
    await clean_up.kiq_many([registry.ping.call()])  # error
    sent = await clean_up.kiq_many([clean_up.call(7)])
    print((await sent[0].wait_result()).return_value["todos_deleted"])  # error


async def wrong_results(registry: TasksRegistry) -> None:
    result = (await (await registry.session_cleanup.kiq()).wait_result()).return_value
    print(result["todos_deleted"])  # error
    print(result["report"].deleted)  # error
    print((await registry.ping.task("one").result())["deleted_count"])  # error
    count: str = result["deleted_count"]  # error
    print(count)
    pong: TodoCleanupResult = (await (await registry.ping.kiq()).wait_result()).return_value  # error
    print(pong)
