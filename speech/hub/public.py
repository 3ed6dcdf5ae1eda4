"""How public checkpoints are known, without reading them."""

from __future__ import annotations

from pathlib import Path

COSYVOICE = frozenset({"llm.pt", "flow.pt", "hift.pt"})
"""Files by which a folder of CosyVoice is known."""


def is_cosyvoice(path: Path) -> bool:
    """Whether a path is a folder of CosyVoice as it is published, whole or not."""
    return any((path / name).is_file() for name in COSYVOICE) and not (path / "config.yaml").is_file()
