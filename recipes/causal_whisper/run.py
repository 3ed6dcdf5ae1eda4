"""`speech train causal_whisper [stage=...] [overrides]`: the stages of the recipe, in order."""

from __future__ import annotations

from recipes.causal_whisper.settings import compose_settings
from recipes.common.stages import command, run_stages

STAGES = ("prepare", "align", "pretrain", "train", "evaluate", "export")
"""Each stage is a module with a function of the same name that takes the settings."""


def main(overrides: list[str]) -> None:
    """Run the stages that `stage=` names (one, a list, or "all") under Hydra overrides of conf/causal_whisper.yaml."""
    run_stages("recipes.causal_whisper", STAGES, STAGES, compose_settings(overrides))


if __name__ == "__main__":
    command(main)
