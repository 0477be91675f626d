"""What the suite's workers are started with: `taskiq worker tests.faults.app:broker`."""

from taskiq import TaskiqEvents, TaskiqState
from tests.faults.brokers import build_broker
from tests.faults.jobs import Jobs
from tests.faults.recorder import Recorder
from tests.faults.settings import WorkerSettings
from tests.faults.standstill import watch_for_standstills
from tests.faults.tasks import Tasks
from tests.faults.ticks import register_tick

from kiqstart.processes.exits import end_with_process_manager

_settings = WorkerSettings.model_validate({})
_recorder = Recorder(_settings.records)
broker = build_broker(_settings)
tasks = Tasks.register(broker, _recorder)
jobs = Jobs.register(broker, _recorder, _settings.edition)
register_tick(broker, _recorder)


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def _record_that_it_is_up(_: TaskiqState) -> None:
    end_with_process_manager()
    _recorder.write_ready()
    watch_for_standstills(_recorder)
