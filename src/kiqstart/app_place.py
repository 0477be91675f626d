"""Where the application is that a command is about; read without importing it."""

import os
import tomllib
from pathlib import Path
from typing import Final, cast

from kiqstart.errors import OperatorError
from kiqstart.trust import check_trusted

VARIABLE: Final = "KIQSTART_APP"


class AppNotFoundError(OperatorError):
    """Nothing says which application a command is about, or what is named is none."""


def app_place() -> str | None:
    """Where the application is, as `module:name`; None where nothing says so.

    Raises:
        AppNotFoundError: what pyproject.toml says is no such text.
        UntrustedPathError: another user can change that file.
    """
    return os.environ.get(VARIABLE) or _place_in_pyproject()


def needed_app_place() -> str:
    """Where the application is, as `module:name`.

    Raises:
        AppNotFoundError: nothing says so.
    """
    if place := app_place():
        return place
    raise AppNotFoundError(
        f'no application is named: use --app module:name, set {VARIABLE}, or write app = "module:name" under '
        "[tool.kiqstart] in pyproject.toml"
    )


def project_folder() -> Path:
    """The project of the working directory: the nearest folder upwards whose pyproject.toml has a `[tool.kiqstart]`.

    Without one, it is the working directory itself.
    """
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if _tool_table(folder) is not None), here)


def _place_in_pyproject() -> str | None:
    folder = project_folder()
    place = (_tool_table(folder) or {}).get("app")
    if place is None:
        return None
    # It is imported, from that folder.
    check_trusted(folder / "pyproject.toml")
    if not isinstance(place, str):
        raise AppNotFoundError(f'{folder}/pyproject.toml: app under [tool.kiqstart] is no text such as "module:name"')
    return place


def _tool_table(folder: Path) -> dict[str, object] | None:
    try:
        settings = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    table: object = settings
    for name in ("tool", "kiqstart"):
        table = cast("dict[str, object]", table).get(name) if isinstance(table, dict) else None
    return cast("dict[str, object]", table) if isinstance(table, dict) else None
