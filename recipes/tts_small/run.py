"""`speech train tts_small [stage=...] [overrides]`: the stages of the recipe, in order."""

from __future__ import annotations

from recipes.common.stages import command, run_stages
from recipes.tts_small.settings import compose_settings

STAGES = (
    "prepare",
    "align",
    "f0",
    "vocoder",
    "copy_synthesis",
    "content",
    "codes",
    "speaker",
    "lm",
    "flow",
    "evaluate",
    "export",
)
"""Each is a module of this package, with a function of the same name that takes the settings."""


def main(overrides: list[str]) -> None:
    """Run the stages that `stage=` names (one, a list, or "all") under Hydra overrides of conf/tts_small.yaml."""
    run_stages("recipes.tts_small", STAGES, STAGES, compose_settings(overrides))


if __name__ == "__main__":
    command(main)
