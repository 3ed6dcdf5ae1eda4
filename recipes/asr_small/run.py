"""`speech train asr_small [stage=...] [overrides]`: the stages of the recipe, in order."""

from __future__ import annotations

import importlib
import logging
import sys

from recipes.asr_small.settings import compose_settings
from speech.errors import SpeechError

STAGES = ("synthesize", "prepare", "align", "batch_size", "train", "evaluate", "export", "pack")
ALL = ["prepare", "train", "evaluate", "export"]


def main(overrides: list[str]) -> None:
    """Run the stages that `stage=` names (one, a list, or "all") under Hydra overrides of conf/asr_small.yaml."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = compose_settings(overrides)
    wanted = settings.raw.stage
    stages = ALL if wanted == "all" else [wanted] if isinstance(wanted, str) else list(wanted)
    for stage in stages:
        if stage not in STAGES:
            raise SpeechError(f"expected stage to be all or some of {', '.join(STAGES)}, got {stage!r}")
    for stage in stages:
        module = importlib.import_module(f"recipes.asr_small.{stage}")
        getattr(module, stage)(settings)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SpeechError as error:
        sys.exit(f"error: {error}")
