"""What a shell completes, asked as its own script asks."""

import shutil
import subprocess

import pytest
from tests.end_to_end.cli.in_process import Kiqstart

SHELLS = ("bash", "zsh", "fish")


def completed(kiqstart_here: Kiqstart, shell: str, line: str, **environment: str) -> list[str]:
    words = {
        "_KIQSTART_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "COMP_WORDS": line.replace(" ", "\n"),
        "COMP_CWORD": str(line.count(" ")),
    }
    done = kiqstart_here(environment={**words, **environment})
    assert done.err == ""
    # zsh and fish show what each command does beside its name.
    lines = done.out.replace("_arguments '*: :((", "").replace("))'", "").splitlines()
    return [one.partition("\t")[0].split('":"')[0].strip('"') for one in lines if one]


@pytest.mark.parametrize("shell", SHELLS)
def test_names_of_the_application_are_completed_without_a_server(kiqstart_here: Kiqstart, shell: str) -> None:
    nowhere = {"REDIS_URL": "redis://127.0.0.1:1", "DATABASE_URL": "postgresql://127.0.0.1:1/x"}
    for line, names in {
        "kiqstart ret": ["retention"],
        "kiqstart tasks run s": ["session.cleanup"],
        "kiqstart pause task p": ["ping"],
        "kiqstart pause queue d": ["default"],
        "kiqstart schedules run p": ["ping-every-minute"],
        "kiqstart retention run c": ["completed_todos"],
    }.items():
        assert completed(kiqstart_here, shell, line, **nowhere) == names, line


def test_an_application_that_is_broken_completes_nothing(kiqstart_here: Kiqstart) -> None:
    assert completed(kiqstart_here, "bash", "kiqstart --app no.such:app tasks run s") == []


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_for_a_shell_is_one_that_it_reads(kiqstart_here: Kiqstart, shell: str) -> None:
    script = kiqstart_here(environment={"_KIQSTART_COMPLETE": f"source_{shell}"})
    assert script.code == 0
    assert "_KIQSTART_COMPLETE" in script.out
    if (program := shutil.which(shell)) is not None:
        read = subprocess.run([program, "-n"], input=script.out, capture_output=True, text=True, check=False)
        assert (read.returncode, read.stderr) == (0, "")
