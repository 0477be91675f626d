"""Names the package in the bill of materials that uv has written: `python release/bom.py FROM TO`."""

import json
import sys
import tomllib
from pathlib import Path


def main(source: Path, target: Path) -> None:
    """Copy the bill, with the name and version of pyproject.toml for what uv calls its workspace."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    bill = json.loads(source.read_text(encoding="utf-8"))
    component = bill["metadata"]["component"]
    component |= {
        "type": "application",
        "name": project["name"],
        "version": project["version"],
        "purl": f"pkg:pypi/{project['name']}@{project['version']}",
        "licenses": [{"license": {"id": project["license"]}}],
    }
    component.pop("properties", None)
    target.write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{target}: {len(bill['components'])} packages\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
