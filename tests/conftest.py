"""What all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]

if not torch.cuda.is_available():  # Triton's kernels are interpreted; it must know before the first one is imported
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Small tensors gain nothing from threads, and sums keep one order."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _heed_interrupts() -> None:
    """Ctrl-C is tested here and in programs started from here; a background job is born deaf to it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden fixtures and recordings beside the repository."""
    folder = ROOT.parent / "shared"
    if not (folder / "fixtures").is_dir():
        pytest.skip("the shared fixtures do not lie beside the repository")
    return folder


@pytest.fixture(scope="session")
def transformers() -> Any:
    """The library of that name. It imports torchaudio, too, which beside a torch for CPUs only fails."""
    library = pytest.importorskip("transformers", reason="transformers is not installed")
    with pytest.MonkeyPatch.context() as patch:
        if torch.version.cuda is None:
            patch.setattr("transformers.utils.is_torchaudio_available", lambda: False)
            patch.setattr("transformers.utils.import_utils.is_torchaudio_available", lambda: False)
        for name in ("WhisperForConditionalGeneration", "Qwen2Model", "GenerationMixin"):
            getattr(library, name)  # imported now
    return library
