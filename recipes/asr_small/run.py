"""`speech train asr_small [stage=...] [overrides]`: the stages of the recipe, in order."""

from __future__ import annotations

from recipes.asr_small.settings import compose_settings
from recipes.common.stages import command, run_stages

STAGES = ("synthesize", "prepare", "align", "batch_size", "train", "evaluate", "export", "pack")
ALL = ("prepare", "train", "evaluate", "export")


def main(overrides: list[str]) -> None:
    """Run the stages that `stage=` names (one, a list, or "all") under Hydra overrides of conf/asr_small.yaml."""
    run_stages("recipes.asr_small", STAGES, ALL, compose_settings(overrides))


if __name__ == "__main__":
    command(main)
