import pytest
from taskiq import Context, NoResultError, TaskiqDepends
from tests.deadlines import HANG

from kiqstart.broker.in_memory import DelayingInMemoryBroker
from kiqstart.broker.retries import RetryMiddleware
from kiqstart.tasks.errors import InvalidTaskArgumentsError, TaskInterruptedError
from kiqstart.tasks.registration import register_task


class Attempts:
    """Fails until it has been tried often enough, and remembers each try's task id and its number of retries."""

    def __init__(self, failures: list[Exception]) -> None:
        self.task_ids: list[str] = []
        self.retries: list[int] = []
        self._failures = failures

    async def run(self, answer: int = 42, context: Context = TaskiqDepends()) -> int:
        self.task_ids.append(context.message.task_id)
        self.retries.append(int(context.message.labels.get("retries", 0)))
        if len(self.task_ids) <= len(self._failures):
            raise self._failures[len(self.task_ids) - 1]
        return answer


async def test_a_failed_task_is_tried_again_until_it_succeeds(broker: DelayingInMemoryBroker) -> None:
    attempts = Attempts([OSError("one"), TimeoutError("two")])
    # The delay is long enough for a waiter to see a failure that were stored as the result.
    task = await register_task(broker, attempts.run, name="try", max_retries=2, retry_delay=0.1).kiq(answer=7)
    result = await task.wait_result(check_interval=0.01, timeout=HANG)
    assert result.return_value == 7
    assert attempts.task_ids == [task.task_id] * 3


async def test_the_last_failure_is_the_result(broker: DelayingInMemoryBroker) -> None:
    attempts = Attempts([OSError("one"), OSError("two"), OSError("three")])
    task = await register_task(broker, attempts.run, name="try", max_retries=1, retry_delay=0).kiq()
    result = await task.wait_result(check_interval=0.01, timeout=HANG)
    assert isinstance(result.error, OSError)
    assert str(result.error) == "two"
    assert len(attempts.task_ids) == 2


@pytest.mark.parametrize(("max_retries", "error"), [(0, OSError("no retries")), (3, ValueError("not worth a retry"))])
async def test_other_failures_are_final(broker: DelayingInMemoryBroker, max_retries: int, error: Exception) -> None:
    attempts = Attempts([error])
    registered = register_task(
        broker, attempts.run, name="try", max_retries=max_retries, retry_delay=0, retry_on=(OSError,)
    )
    result = await (await registered.kiq()).wait_result(check_interval=0.01, timeout=HANG)
    assert result.error is error
    assert len(attempts.task_ids) == 1


async def test_a_call_with_wrong_arguments_is_never_tried_again(broker: DelayingInMemoryBroker) -> None:
    attempts = Attempts([])
    register_task(broker, attempts.run, name="try", max_retries=3, retry_delay=0)
    registered = broker.find_task("try")
    assert registered is not None
    result = await (await registered.kiq(answer="many")).wait_result(check_interval=0.01, timeout=HANG)
    assert isinstance(result.error, InvalidTaskArgumentsError)
    assert "retries" not in result.labels
    assert attempts.task_ids == []


async def test_an_interrupted_task_is_sent_again_at_once_and_no_retry_is_counted(
    broker: DelayingInMemoryBroker,
) -> None:
    attempts = Attempts([TaskInterruptedError(reason="one"), OSError("two"), TaskInterruptedError(reason="three")])
    task = await register_task(broker, attempts.run, name="try", max_retries=1, retry_delay=0).kiq(answer=7)
    result = await task.wait_result(check_interval=0.01, timeout=HANG)
    assert result.return_value == 7
    assert attempts.task_ids == [task.task_id] * 4
    assert attempts.retries == [0, 0, 1, 1]


async def test_an_interruption_does_not_wait_for_the_retries_delay(broker: DelayingInMemoryBroker) -> None:
    attempts = Attempts([TaskInterruptedError(reason="the worker ends")])
    task = await register_task(broker, attempts.run, name="try", max_retries=0, retry_delay=600).kiq()
    assert (await task.wait_result(check_interval=0.01, timeout=HANG)).return_value == 42


async def test_an_interruption_is_not_the_result_and_nobodys_mistake(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kiqstart")
    broker = DelayingInMemoryBroker(await_inplace=True)
    broker.add_middlewares(RetryMiddleware(broker))
    attempts = Attempts([TaskInterruptedError(reason="the worker ends")])
    task = await register_task(broker, attempts.run, name="try").kiq()
    # The next try has not begun, as nothing was waited for since.
    assert len(attempts.task_ids) == 1
    assert not await task.is_ready()
    assert not any(record.exc_info for record in caplog.records)
    assert f"Task try with id {task.task_id} is left to the next worker: the worker ends" in caplog.messages
    await broker.shutdown()


async def test_a_run_that_leaves_the_result_to_another_is_not_tried_again() -> None:
    broker = DelayingInMemoryBroker(await_inplace=True)
    broker.add_middlewares(RetryMiddleware(broker))
    attempts = Attempts([NoResultError()])
    task = await register_task(broker, attempts.run, name="try", max_retries=3, retry_delay=0).kiq()
    assert not await task.is_ready()
    assert not broker._waiting
