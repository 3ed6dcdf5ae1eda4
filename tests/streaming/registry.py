"""Every streamable module of the project, small: the generic tests hold each to the contract.

A room lists its modules in its own `cases_<room>.py`, as `CASES`; a new module adds a line there.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from tests.streaming.case import Case

REGISTRY: dict[str, Case] = {
    name: case
    for path in sorted(Path(__file__).parent.glob("cases_*.py"))
    for name, case in import_module(f"tests.streaming.{path.stem}").CASES.items()
}
