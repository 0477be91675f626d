import shlex

from taskiq import AcknowledgeType
from taskiq.cli.common_args import LogLevel
from taskiq.cli.worker.args import WorkerArgs

from kiqstart.worker.options import ACK_TYPES, LOG_LEVELS, parse_options

# What `kiqstart worker` refuses or leaves to others, and what the two have different types for.
APART = {
    "reload",
    "reload_dirs",
    "no_gitignore",
    "hardkill_count",
    "ack_type",
    "log_level",
    "tasks_pattern",
    "receiver",
}


def test_the_values_to_choose_from_are_taskiqs() -> None:
    assert set(ACK_TYPES) == {kind.value for kind in AcknowledgeType}
    assert set(LOG_LEVELS) == {level.name for level in LogLevel} | set(LogLevel.__members__)


def test_what_is_not_said_is_as_in_taskiq_but_for_the_number_of_workers() -> None:
    taskiqs = vars(WorkerArgs.from_cli(["app:broker"]))
    ours = vars(parse_options(["app:broker"], program="worker"))
    assert {name: ours[name] for name in taskiqs.keys() - APART} == {
        **{name: taskiqs[name] for name in taskiqs.keys() - APART},
        "workers": 1,
    }


def test_every_argument_that_it_takes_is_taskiqs() -> None:
    arguments = shlex.split(
        "app:broker more.tasks --app-dir . -fsd -tp *_tasks.py --receiver a:B --receiver_arg c=d -w 3 --max-fails 2 "
        "--max-async-tasks 5 --max-async-tasks-jitter 1 --max-prefetch 6 --max-tasks-per-child 7 --ack-type MANUAL "
        "--max-threadpool-threads 8 --use-process-pool --max-process-pool-processes 9 --no-parse --no-propagate-errors "
        "--wait-tasks-timeout 1.5 --shutdown-timeout 2 --log-level DEBUG --log-format %(message)s "
        "--no-configure-logging"
    )
    ours = vars(parse_options(arguments, program="worker"))
    taskiqs = vars(WorkerArgs.from_cli([argument.replace("MANUAL", "manual") for argument in arguments]))
    assert {name: ours[name] for name in taskiqs.keys() - APART} == {
        name: taskiqs[name] for name in taskiqs.keys() - APART
    }
    assert (ours["ack_type"], ours["log_level"], ours["tasks_pattern"]) == ("manual", "DEBUG", ["*_tasks.py"])
