"""What an application may import: the names of six packages, each at the cost of what it needs."""

import builtins
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import FunctionType

import pytest
import taskiq.exceptions

ROOT = Path(__file__).parents[3]
PUBLIC = (
    "kiqstart",
    "kiqstart.broker",
    "kiqstart.scheduler",
    "kiqstart.retention",
    "kiqstart.dashboard",
    "kiqstart.testing",
)
IMPORT = re.compile(r"^\s*(?:from|import) (kiqstart[\w.]*)(?: import (\([^)]*\)|[^\n]*))?", re.MULTILINE)
# The demo shows what the commands do, and is made of their parts.
APPLICATION = [path for path in (ROOT / "src/todo_service").rglob("*.py") if path.parent.name != "demo"]
DOCUMENTS = [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *(ROOT / "examples").rglob("*.md")]


@pytest.mark.parametrize("package", PUBLIC)
def test_every_public_name_is_there(package: str) -> None:
    module = import_module(package)
    names: list[str] = module.__all__
    for name in names:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        module.nothing  # noqa: B018  # the point


@pytest.mark.parametrize("package", PUBLIC)
def test_every_public_class_and_function_says_what_it_is_for(package: str) -> None:
    module = import_module(package)
    parts: dict[str, object] = {name: getattr(module, name) for name in module.__all__}
    documented = {name: part for name, part in parts.items() if isinstance(part, type | FunctionType)}
    silent = [name for name, part in documented.items() if not (part.__doc__ or "").strip()]
    assert silent == []


@pytest.mark.parametrize("path", [*APPLICATION, *DOCUMENTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_service_and_documents_import_public_names_only(path: Path) -> None:
    for package, names in IMPORT.findall(path.read_text()):
        if package == "kiqstart.testing.plugin":
            continue
        assert package in PUBLIC, f"{path}: {package}"
        known = import_module(package).__all__
        assert not [name for name in re.findall(r"\w+", names) if name not in known], path


def test_each_error_that_the_documents_name_can_be_imported() -> None:
    public = {name for package in PUBLIC for name in import_module(package).__all__}
    others = {*dir(builtins), *taskiq.exceptions.__dict__, "CancelledError", "ValidationError"}
    # The changelog names the service's, too.
    paths = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
    named = {name for path in paths for name in re.findall(r"`([A-Z]\w*Error)`", path.read_text())}
    assert sorted(named - public - others) == []


@pytest.mark.parametrize(
    ("line", "others"),
    [
        ("from kiqstart.retention import RetentionEngine", "taskiq redis aioinject typer alembic structlog"),
        ("from kiqstart.broker import StreamBroker", "sqlalchemy aioinject typer alembic structlog rich"),
        ("from kiqstart import register_task, BaseTasksRegistry", "sqlalchemy aioinject typer alembic rich"),
        (
            "import kiqstart, kiqstart.broker, kiqstart.scheduler, kiqstart.retention",
            "taskiq redis sqlalchemy pydantic",
        ),
    ],
)
def test_a_part_alone_imports_only_what_it_needs(line: str, others: str) -> None:
    program = f"{line}\nimport sys\nprint([name for name in {others.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_all_names_can_be_imported_at_once_where_opentelemetry_is_not_installed() -> None:
    program = """
import sys
from importlib.machinery import PathFinder

class WithoutOpenTelemetry(PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] == "opentelemetry" else super().find_spec(fullname, path, target)

sys.meta_path = [WithoutOpenTelemetry if finder is PathFinder else finder for finder in sys.meta_path]
from kiqstart import *
print(register_task.__name__, "TracingMiddleware" in globals())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "register_task False\n", done.stderr
