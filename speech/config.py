"""The one place that reads environment variables."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where downloaded and converted checkpoints are kept: `SPEECH_CACHE`, else `~/.cache/speech`."""
    return Path(os.environ.get("SPEECH_CACHE") or Path.home() / ".cache" / "speech").expanduser()
