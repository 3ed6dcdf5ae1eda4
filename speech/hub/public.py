"""How public checkpoints are known, without reading them."""

from __future__ import annotations

from pathlib import Path

COSYVOICE = frozenset({"llm.pt", "flow.pt", "hift.pt"})
"""Files by which a folder of CosyVoice is known."""

MEANVC = ("model_*ms.safetensors", "meanvc2_*.safetensors", "fastu2*.pt")
"""Patterns of the files by which a folder of MeanVC or MeanVC 2 is known."""

FILES = (".nemo", ".pt")
"""Ends of the names of public models that are one file: NeMo's, and Whispers (OpenAI's and causal ones)."""


def is_cosyvoice(path: Path) -> bool:
    """Whether a path is a folder of CosyVoice as it is published, whole or not."""
    return any((path / name).is_file() for name in COSYVOICE) and not (path / "config.yaml").is_file()


def is_meanvc(path: Path) -> bool:
    """Whether a path is a folder of MeanVC or MeanVC 2 as it is published, whole or not."""
    return (
        path.is_dir()
        and not (path / "config.yaml").is_file()
        and any(next(path.glob(pattern), None) for pattern in MEANVC)
    )


def is_whisper(path: Path) -> bool:
    """Whether a path is a folder of a Whisper as Hugging Face publishes it, going by its `config.json`."""
    config = path / "config.json"
    return (
        config.is_file()
        and not (path / "config.yaml").is_file()
        and '"whisper"' in config.read_text(encoding="utf-8", errors="replace")
    )


def is_public(path: Path) -> bool:
    """Whether a path is a folder of a public model that has to be converted."""
    return is_cosyvoice(path) or is_meanvc(path) or is_whisper(path)


def is_foreign(path: Path) -> bool:
    """Whether a path names a public model that has to be converted, a folder or a file, be the file there or not."""
    return path.suffix in FILES or is_public(path)
