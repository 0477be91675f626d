"""`kiqstart runs retry`."""

import asyncio
from collections.abc import Sequence

from kiqstart.broker.acts import Act, ActKind
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.run_names import NamedRun
from kiqstart.cli.application import application, stream_broker
from kiqstart.cli.confirmation import confirm
from kiqstart.cli.one_by_one import one_by_one
from kiqstart.cli.recording import record
from kiqstart.operations.numbers import counted
from kiqstart.operations.run_resending import FailedRuns, last_failed_run, resend


def run_retry(task_ids: Sequence[str], failed: FailedRuns, *, every: bool, is_sure: bool, why: str | None) -> int:
    """Send tasks again whose last run has failed, oldest first; the exit code is 1 if one was not sent.

    Raises:
        SelectionError: it is not clear which.
        NotConfirmedError: they are not named one by one, and nobody can be asked.
    """
    failed.check(task_ids, every=every)
    return asyncio.run(_retry(task_ids, failed, is_sure=is_sure, why=why))


async def _retry(task_ids: Sequence[str], failed: FailedRuns, *, is_sure: bool, why: str | None) -> int:
    app, done = application(), 0
    async with stream_broker(app) as broker:
        # All are looked for before the first is sent: it may fail again.
        chosen = {} if task_ids else await _chosen(broker, failed, is_sure=is_sure)

        async def retry(task_id: str) -> str:
            nonlocal done
            run = chosen.get(task_id) or await last_failed_run(broker, task_id)
            await resend(app, broker, run)
            done += 1
            return f"{task_id}  {run.task}"

        code = await one_by_one(task_ids or chosen, retry, "sent again")
        if done:
            target = ", ".join(task_ids) or failed.described
            await record(broker, [Act(kind=ActKind.RETRY_RUN, target=target, detail=counted(done, "task"))], why)
        return code


async def _chosen(broker: StreamBroker, failed: FailedRuns, *, is_sure: bool) -> dict[str, NamedRun]:
    runs = await failed.runs(broker)
    if runs:
        confirm(f"Send {counted(len(runs), 'task')} again ({failed.described})?", is_sure=is_sure)
    return {run.task_id or "": run for run in runs}
