"""The composed Hydra configuration beside the configuration of the model that is fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recipes.common.cache import RATE
from recipes.common.settings import compose_raw
from recipes.tts_small.settings import Settings, training
from recipes.tts_small.tracks import FRAME
from speech.content.encoder import FACTOR, ContentConfig
from speech.errors import SpeechError
from speech.hub.checkpoint import VOICES, read_config
from speech.hub.find import locate
from speech.tts.lm import TextSpeechConfig
from speech.tts.model import SynthesiserConfig
from speech.tts.text.inventory import SYMBOLS
from speech.tts.voice import Voice, read_voices
from speech.vocoder.hift import HiFTConfig

TUNABLE = ("lm", "flow", "vocoder")
"""Parts that can be trained on; content and speaker encoder stay as they are, for the other parts build on them."""

KEYS = {"data": "folder", "model": "base", "voice": "voice"}
"""What the command calls a path or a name, and its key in conf/tts_voice.yaml; to Hydra, two of them name groups."""


@dataclass(frozen=True)
class VoiceSettings(Settings):
    """One run of the recipe. The sizes of all parts are those of the model. base: its configuration; checkpoint: its
    folder."""

    base: SynthesiserConfig
    checkpoint: Path

    @property
    def first_voice(self) -> int:
        """The row of the new voice: the next after those that the model has."""
        return max(self.base.lm.vocabulary.voices, 1)

    def language_model(self, voices: int) -> TextSpeechConfig:
        """The model's own, with so many rows in its table of voices."""
        return replace(self.base.lm, vocabulary=replace(self.base.lm.vocabulary, voices=voices))

    def other_voices(self) -> dict[str, Voice]:
        """The voices of the model, unless the new one is to stand alone."""
        path = self.checkpoint / VOICES
        return read_voices(path) if self.raw.voices == "all" and path.is_file() else {}


def compose_settings(overrides: list[str]) -> VoiceSettings:
    """`conf/tts_voice.yaml` under Hydra overrides; `data`, `model` and `voice` are taken as they are, unquoted.

    Raises SpeechError for an override that does not fit, and for a model that cannot be fine-tuned here.
    """
    raw = compose_raw("tts_voice", named(overrides))
    if raw.voices not in ("all", "new_only"):
        raise SpeechError(f"expected voices to be all or new_only, got {raw.voices!r}: choose one")
    if strange := sorted(set(raw.tune) - set(TUNABLE)):
        raise SpeechError(f"expected tune to list some of {', '.join(TUNABLE)}, got {', '.join(strange)}: remove it")
    checkpoint = locate(raw.base)
    base = tunable(*read_config(checkpoint), raw.base)
    return VoiceSettings(
        raw,
        **training(raw),
        mel=base.mel,
        vocoder=base.vocoder,  # type: ignore[arg-type]
        content=base.tokenizer,  # type: ignore[arg-type]
        speaker=base.speaker,  # type: ignore[arg-type]
        decoder=base.lm.decoder,
        sampling=base.sampling,
        flow=base.flow,
        base=base,
        checkpoint=checkpoint,
    )


def named(overrides: list[str]) -> list[str]:
    """The overrides for Hydra: paths and names quoted, under their keys; a voice is called like its folder."""
    pairs = [override.partition("=")[::2] for override in overrides]
    given = {key: value for key, value in pairs if key in KEYS}
    if not given.get("data"):
        raise SpeechError("expected a folder with recordings and what is said in them, got none: add data=FOLDER")
    given["voice"] = given.get("voice") or Path(given["data"]).expanduser().resolve().name
    rest = [override for override, (key, _) in zip(overrides, pairs, strict=True) if key not in KEYS]
    return [*rest, *(f"{KEYS[key]}='" + value.replace("'", "\\'") + "'" for key, value in given.items())]


def tunable(family: str, config: Any, name: str) -> SynthesiserConfig:
    """The configuration of a model, if it is of the kind that `tts_small` trains. Raises SpeechError otherwise."""
    if family != "synthesiser":
        raise SpeechError(f"expected a synthesiser to fine-tune, {name} is a {family}: name another model")
    text, mel = config.lm.vocabulary, config.mel
    faults = {
        "its text is byte pairs, which cannot be aligned with the sound": config.text != "phonemes",
        "its symbols are not those of this release": text.ahead is None or text.symbols != len(SYMBOLS),
        "it lacks a content encoder of its own": not isinstance(config.tokenizer, ContentConfig),
        "it lacks a speaker encoder of its own": config.speaker is None,
        "its vocoder has no source": not isinstance(config.vocoder, HiFTConfig),
        f"its mel frames are not {1000 * FRAME // RATE} ms at {RATE} Hz": (mel.sample_rate, mel.hop) != (RATE, FRAME),
        f"its flow does not make {FACTOR} mel frames of a code": config.flow.rate != FACTOR,
    }
    if fault := next((fault for fault, there in faults.items() if there), None):
        raise SpeechError(f"expected a model of the kind that tts_small trains, but {fault} ({name}): name another one")
    return config
