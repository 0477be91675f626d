from pathlib import Path

import pytest
from tests.end_to_end.cli.command_line import CommandLine


@pytest.fixture
def kiqstart(service_environment: dict[str, str], tmp_path: Path) -> CommandLine:
    return CommandLine(environment=service_environment, folder=tmp_path)
