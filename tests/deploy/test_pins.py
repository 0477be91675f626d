"""What is fetched from elsewhere is named by what it holds: a tag may be given to something else any day."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
# The image that the service itself is built as.
OWN: Final = "kiqstart"
NAMED_IN: Final = {
    "Dockerfile": r"^(?:FROM|ARG PYTHON_IMAGE=) *(\S+)",
    "compose.yaml": r"^ *(?:image|PYTHON_IMAGE): *(\S+)",
    ".env.example": r"^# \w+_IMAGE=(\S+)",
}


def images_of(file: str) -> list[str]:
    """The images that a file names; where a variable names one, its default."""
    found = re.findall(NAMED_IN[file], (ROOT / file).read_text(), re.MULTILINE)
    defaults = [re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", one) for one in found]
    return [one for one in defaults if one not in {OWN, "${PYTHON_IMAGE}"}]


@pytest.mark.parametrize("file", NAMED_IN)
def test_images_are_named_by_their_digests(file: str) -> None:
    images = images_of(file)
    assert images
    assert [one for one in images if not re.fullmatch(r"[a-z]+:[\w.-]+@sha256:[0-9a-f]{64}", one)] == []


def test_each_file_names_the_same_images() -> None:
    assert set(images_of("Dockerfile")) < set(images_of("compose.yaml")) == set(images_of(".env.example"))


def test_the_workflow_s_actions_are_named_by_their_commits() -> None:
    actions = re.findall(r"uses: (.*)", (ROOT / ".github/workflows/ci.yaml").read_text())
    assert actions
    assert [one for one in actions if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}  # v[\d.]+", one)] == []
