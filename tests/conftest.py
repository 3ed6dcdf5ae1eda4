"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Small tensors gain nothing from threads, and sums keep one order."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden fixtures and recordings beside the repository."""
    folder = ROOT.parent / "shared"
    if not (folder / "fixtures").is_dir():
        pytest.skip("the shared fixtures do not lie beside the repository")
    return folder
