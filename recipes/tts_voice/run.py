"""`speech train tts_voice data=FOLDER [model=...] [voice=...] [overrides]`: the stages of the recipe, in order."""

from __future__ import annotations

from recipes.common.stages import command, run_stages
from recipes.tts_voice.settings import TUNABLE, compose_settings
from recipes.tts_voice.start import start

STAGES = ("prepare", "align", "f0", "codes", "speaker", "lm", "flow", "vocoder", "evaluate", "export")
BORROWED: dict[str, str] = dict.fromkeys(
    ("f0", "codes", "lm", "flow", "vocoder", "evaluate", "export"), "recipes.tts_small"
)
"""Each stage is a module with a function of the same name that takes the settings; most are those of `tts_small`."""


def main(overrides: list[str]) -> None:
    """Run the stages that `stage=` names (one, a list, or "all") under Hydra overrides of conf/tts_voice.yaml."""
    settings = compose_settings(overrides)
    start(settings)
    idle = set(TUNABLE) - set(settings.raw.tune)
    run_stages("recipes.tts_voice", STAGES, [name for name in STAGES if name not in idle], settings, BORROWED)


if __name__ == "__main__":
    command(main)
