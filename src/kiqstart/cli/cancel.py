"""`kiqstart cancel`: let tasks not run, or run no longer."""

from collections.abc import Sequence

from kiqstart.broker.acts import Act, ActKind
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.cancellation import CancelOutcome
from kiqstart.cli.application import on_broker
from kiqstart.cli.recording import record
from kiqstart.cli.terminal import echo
from kiqstart.errors import print_error
from kiqstart.operations.cancelling import cancel_task
from kiqstart.tasks.task_ids import InvalidTaskIdError


@on_broker
async def run_cancel(broker: StreamBroker, task_ids: Sequence[str], *, reason: str | None) -> int:
    """Cancel tasks; those that have ended or cannot be are named on standard error, and let the exit code be 1."""
    exit_code = 0
    for task_id in dict.fromkeys(task_ids):
        try:
            outcome, words = await cancel_task(broker, task_id)
        except InvalidTaskIdError as error:
            print_error(error)
            exit_code = 1
            continue
        is_ended = outcome is CancelOutcome.ENDED
        exit_code = max(exit_code, int(is_ended))
        said = f"{task_id!r} {words}"
        echo(f"kiqstart: task {said}" if is_ended else said, err=is_ended)
        if not is_ended:
            await record(broker, [Act(kind=ActKind.CANCEL_TASK, target=task_id, detail=outcome)], reason)
    return exit_code
