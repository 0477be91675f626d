"""Programs that run in the environment of `benchmarks/requirements.lock`, apart from the service's own."""

import asyncio
import subprocess
from pathlib import Path
from typing import Final

from kiqstart.app_place import project_folder

INTERPRETER: Final = Path(".local", "benchmarks", "venv", "bin", "python")


class SeparateProgramError(Exception):
    """The program is not installed, or failed."""


async def run_separate(module: str, *arguments: str, given: str = "") -> str:
    """Run a module with `given` on its standard input, and return what it prints.

    Raises:
        SeparateProgramError: the environment is not there, or the program ended with an error.
    """
    root = project_folder()
    interpreter = root / INTERPRETER
    if not interpreter.exists():
        raise SeparateProgramError(f"{INTERPRETER} is missing: start the benchmark with `make`, see `make help`")
    process = await asyncio.create_subprocess_exec(
        interpreter, "-m", module, *arguments, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        printed, _ = await process.communicate(given.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise SeparateProgramError(f"{module} ended with exit code {process.returncode}")
    return printed.decode()
