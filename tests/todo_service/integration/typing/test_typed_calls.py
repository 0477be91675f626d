import json
import re
import subprocess
import sys
from pathlib import Path

SAMPLE = Path(__file__).parent / "samples" / "registry_calls.py"
ROOT = Path(__file__).parents[4]
CACHE = ROOT / ".local" / "mypy-of-typed-calls"


def marked_lines() -> set[int]:
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, start=1) if line.endswith("# error")}


def test_mypy_accepts_right_calls_and_rejects_wrong_ones(tmp_path: Path) -> None:
    # What a call takes and gives comes from these packages: to go through all that they import takes four times as
    # long.
    config = tmp_path / "mypy.ini"
    config.write_text(
        "[mypy]\nstrict = true\nmypy_path = src\nexplicit_package_bases = true\nfollow_imports = skip\n"
        "[mypy-kiqstart.*,todo_service.*,taskiq.*,pydantic.*,pydantic_core.*]\nfollow_imports = normal\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file", str(config), "--cache-dir", str(CACHE), str(SAMPLE)]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    rejected = {int(found) for found in re.findall(rf"{SAMPLE.name}:(\d+): error", output)}
    assert rejected == marked_lines(), output


def test_pyright_accepts_right_calls_and_rejects_wrong_ones(tmp_path: Path) -> None:
    # A configuration of its own: the project's leaves the samples out.
    config = tmp_path / "pyrightconfig.json"
    config.write_text(
        json.dumps({"include": [str(SAMPLE)], "typeCheckingMode": "strict", "reportUnknownMemberType": False})
    )
    output = subprocess.run(
        [
            sys.executable,
            "-m",
            "basedpyright",
            "--outputjson",
            "--pythonpath",
            sys.executable,
            "--project",
            str(config),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    rejected = {
        found["range"]["start"]["line"] + 1
        for found in json.loads(output)["generalDiagnostics"]
        if found["severity"] == "error"
    }
    assert rejected == marked_lines(), output
