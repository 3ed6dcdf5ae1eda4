"""`speech train vc_small [stage=...] [overrides]`: the stages of the recipe, in order."""

from __future__ import annotations

from recipes.common.stages import command, run_stages
from recipes.vc_small.settings import compose_settings

STAGES = (
    "prepare",
    "align",
    "f0",
    "vocoder",
    "copy_synthesis",
    "content",
    "speaker",
    "convert",
    "post",
    "evaluate",
    "export",
)
BORROWED: dict[str, str] = dict.fromkeys(
    ("prepare", "align", "f0", "vocoder", "copy_synthesis", "speaker"), "recipes.tts_small"
)
"""Each stage is a module with a function of the same name that takes the settings; half of them are `tts_small`'s."""


def main(overrides: list[str]) -> None:
    """Run the stages that `stage=` names (one, a list, or "all") under Hydra overrides of conf/vc_small.yaml."""
    run_stages("recipes.vc_small", STAGES, STAGES, compose_settings(overrides), BORROWED)


if __name__ == "__main__":
    command(main)
