"""The checkout that a command is run in."""

import tomllib
from pathlib import Path


def project_folder() -> Path:
    """Find this project's checkout from the working directory upwards; without one, it is the working directory."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if _is_checkout(folder)), here)


def _is_checkout(folder: Path) -> bool:
    try:
        settings = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(settings.get("project", {}).get("name") == "kiqstart")
