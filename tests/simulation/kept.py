"""Histories as files: those that have broken a promise are kept, and played again by a test."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.simulation.plan import FireTime, Plan

FOLDER: Final = Path(__file__).parent / "kept"


def as_json(plan: Plan) -> str:
    """A plan as text."""
    return json.dumps(asdict(plan))


def load(file: Path) -> Plan:
    """A plan from a file."""
    fields = json.loads(file.read_text())
    steps = [FireTime(**step) for step in fields.pop("steps")]
    return Plan(steps=steps, **fields)
