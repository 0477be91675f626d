"""What the documents and compose.yaml say of delivery: code is run, tables are compared, links are followed."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings
from tests.deadlines import HANG
from tests.fork_server.client import ForkingFactory

from kiqstart.broker.delivery import DeadLetterReason
from kiqstart.broker.settings import TasksSettings
from kiqstart.tasks.registration import register_task
from kiqstart.testing.processes import taskiq_command
from todo_service.infrastructure.database.settings import RetentionEnvironment

ROOT = Path(__file__).parents[2]
DELIVERY = (ROOT / "docs/delivery.md").read_text()
TASKS = (ROOT / "docs/tasks.md").read_text()


def section(document: str, title: str) -> str:
    return document.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def table(text: str) -> dict[str, str]:
    """First and second column of each row that begins with a name."""
    return dict(re.findall(r"^\| `([\w-]+)` \| (.+?) \|", text, flags=re.MULTILINE))


def written(default: object) -> str:
    """A default as the documents write it."""
    match default:
        case bool():
            return f"`{default}`"
        case None:
            return "none"
        case float():
            return str(int(default)) if default.is_integer() else str(default)
        case _:
            return str(default)


def options() -> dict[str, str]:
    """The options of `register_task` with their defaults as the documents write them."""
    parameters = inspect.signature(register_task).parameters.values()
    return {one.name: written(one.default) for one in parameters if one.kind is one.KEYWORD_ONLY}


@pytest.fixture
def project(tmp_path: Path, key_prefix: str) -> Path:
    """The project of the documentation, on keys of the test's own."""
    [code] = re.findall(
        r"^```python\n(import.*?)^```$", section(DELIVERY, "In an existing taskiq project"), re.MULTILINE | re.DOTALL
    )
    assert 'queue_name="mail"' in code
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "tkq.py").write_text(code.replace('queue_name="mail"', f'queue_name="{key_prefix}"'))
    return folder


@pytest.mark.parametrize(
    "arguments", [[], ["--receiver", "taskiq.receiver.receiver:Receiver"]], ids=["own", "taskiq's"]
)
def test_the_broker_runs_in_an_existing_project_as_documented(
    project: Path, redis_url: str, tmp_path: Path, arguments: list[str]
) -> None:
    commands = re.findall(r"^(taskiq worker|python) (tkq\S+)$", DELIVERY, re.MULTILINE)
    assert commands == [("taskiq worker", "tkq:broker"), ("python", "tkq.py")]
    environment = {"REDIS_URL": redis_url, "PYTHONPATH": str(project)}
    worker = ForkingFactory(
        command=taskiq_command("worker", "tkq:broker", "--workers", "1"),
        environment=environment,
        ready="Listening started.",
        log_folder=tmp_path,
    )
    with worker(*arguments):
        printed = subprocess.run(
            [sys.executable, "tkq.py"],
            env={**os.environ, **environment},
            cwd=project,
            capture_output=True,
            text=True,
            timeout=HANG,
            check=False,
        )
    assert printed.stdout == "welcome, 7\nsent True\n", printed.stderr


def test_every_setting_of_delivery_is_documented_with_its_default() -> None:
    fields = TasksSettings.model_fields
    assert table(section(DELIVERY, "Settings")) == {
        f"TASKS_{name}".upper(): written(field.default).strip("`").lower() for name, field in fields.items()
    }


def test_every_option_of_a_task_is_documented_with_its_default() -> None:
    documented = table(section(TASKS, "Options of `register_task`"))
    expected = options() | {"name": "required", "queue": "`default`", "retry_on": "`(Exception,)`"}
    assert documented == expected


def test_the_options_of_retries_are_documented_alike_in_both_places() -> None:
    retries = {name: default for name, default in options().items() if "retr" in name}
    assert table(section(DELIVERY, "Retries")) == retries | {"retry_on": "`(Exception,)`"}


def test_every_reason_of_dead_letters_is_documented() -> None:
    assert set(table(section(DELIVERY, "Dead letters"))) == {reason.value for reason in DeadLetterReason}


@pytest.mark.parametrize("settings", [TasksSettings, RetentionEnvironment])
def test_the_compose_file_hands_every_setting_on(settings: type[BaseSettings]) -> None:
    prefix = settings.model_config.get("env_prefix", "")
    handed_on = set(re.findall(rf"^    ({prefix}\w+):$", (ROOT / "compose.yaml").read_text(), flags=re.MULTILINE))
    assert handed_on == {f"{prefix}{name}".upper() for name in settings.model_fields}


DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md")]


@pytest.mark.parametrize("document", [str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_links_between_documents_lead_somewhere(document: str) -> None:
    path = ROOT / document
    for file, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", path.read_text()):
        target = path.parent / file if file else path
        assert target.exists(), f"{document}: {file}"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", target.read_text(), flags=re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in anchors, f"{document}: {file}#{anchor}"
