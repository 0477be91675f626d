"""README's "Add a task in four edits", done on a copy of the source, which may have that very task."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent, indent

import pytest

ROOT = Path(__file__).parents[2]
OTHER_NAMES = {
    "TodoCount": "TodoTally",
    "todo_count": "todo_tally",
    "TODO_COUNT": "TODO_TALLY",
    "todo.count": "todo.tally",
}
IMPORT = "from todo_service.delivery.tasks.controllers.todo_tally import TodoTallyTaskController\n"
# Where a reader would put each line: below its neighbour.
NEIGHBOURS = {
    "names.py": r"    TODO_CLEANUP = .*\n",
    "registry.py": r"    todo_cleanup = TaskReference.*\n",
    "container.py": r"        Singleton\(TodoCleanupTaskController.*\n",
}
SCRIPT = """
import asyncio
from todo_service.core.todo.service import TodoService
from todo_service.core.user.service import UserService
from todo_service.ioc.container import ContainerFactory

async def main():
    container = ContainerFactory()()
    async with container.running() as registry:
        user = await container.resolve(UserService).create(username="ada", email="ada@example.org")
        for number in range(3):
            await container.resolve(TodoService).create(user_id=user.id, title=f"todo {number}")
        task = await registry.todo_tally.kiq(user_id=user.id)
        print((await task.wait_result(timeout=200)).return_value)

asyncio.run(main())
"""


def edits() -> list[tuple[str, str]]:
    section = (ROOT / "README.md").read_text().partition("## Add a task in four edits")[2].partition("\n## ")[0]
    for name, other in OTHER_NAMES.items():
        section = section.replace(name, other)
    found = re.findall(r"`(src/todo_service/\S+\.py)`.*?```python\n(.*?)\n   ```", section, flags=re.DOTALL)
    return [(path, dedent(code) + "\n") for path, code in found]


def apply(copy: Path, path: str, code: str) -> None:
    target = copy / path
    neighbour = NEIGHBOURS.get(target.name)
    if neighbour is None:
        target.write_text(code)
        return
    source = re.sub(neighbour, lambda match: match[0] + indent(code, "    "), target.read_text())
    if "TodoTallyTaskController" in code:
        source = source.replace("\nfrom todo_service", f"\n{IMPORT}from todo_service", 1)
    target.write_text(source)


def run(copy: Path, database_url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={
            **os.environ,
            "PYTHONPATH": str(copy / "src"),
            "DATABASE_URL": database_url,
            "REDIS_URL": "memory://",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in ("src", "migrations"):
        # With what is compiled of it, but not what is being compiled now.
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.pyc.*"))
    return tmp_path


def test_four_edits_add_a_task(copy: Path, database_url: str) -> None:
    assert len(edits()) == 4
    for path, code in edits():
        apply(copy, path, code)
    outcome = run(copy, database_url)
    assert outcome.stdout == "3\n", outcome.stderr


@pytest.mark.parametrize(
    ("forgotten", "complaint"),
    [
        ("registry.py", "TasksRegistry has no line for TaskName.TODO_TALLY: add a TaskReference"),
        ("container.py", "TaskName.TODO_TALLY ('todo.tally') has no controller"),
    ],
)
def test_a_forgotten_edit_is_named(copy: Path, database_url: str, forgotten: str, complaint: str) -> None:
    for path, code in edits():
        if not path.endswith(forgotten):
            apply(copy, path, code)
    outcome = run(copy, database_url)
    assert outcome.returncode != 0
    assert complaint in outcome.stderr
