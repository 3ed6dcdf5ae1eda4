"""The synthesiser's networks as one module, as a checkpoint holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Literal

from torch import nn

from speech.audio.mel import COSYVOICE2_MEL, MelConfig
from speech.content.campplus import CAMPPlus, CAMPPlusConfig
from speech.content.encoder import ContentConfig, ContentEncoder
from speech.content.s3 import S3Config, S3Tokenizer
from speech.errors import SpeechError
from speech.flow.model import Flow, FlowConfig
from speech.tts.lm import TextSpeechConfig, TextSpeechLM
from speech.tts.sampling import SamplingConfig
from speech.vocoder.hift import HiFT, HiFTConfig
from speech.vocoder.vocos import Vocos, VocosConfig


@dataclass(frozen=True)
class SynthesiserConfig:
    """A synthesiser's parts. Defaults: CosyVoice 2.

    text: what the language model reads, byte pairs of the text (a `tokenizer.json` lies beside the weights) or
    phonemes. sampling: how codes are chosen. instruction: text that stands before all others and is not spoken. mel: of
    prompts. tokenizer, speaker: what makes codes and speaker vectors of a reference recording; None where the part is
    not there, or lies beside the weights as an ONNX file. Raises SpeechError for parts that do not fit one another.
    """

    lm: TextSpeechConfig = field(default_factory=TextSpeechConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    vocoder: HiFTConfig | VocosConfig = field(default_factory=HiFTConfig)
    text: Literal["pairs", "phonemes"] = "pairs"
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    instruction: str = ""
    mel: MelConfig = COSYVOICE2_MEL
    tokenizer: S3Config | ContentConfig | None = None
    speaker: CAMPPlusConfig | None = None

    def __post_init__(self) -> None:
        self.lm.check(self.sampling)
        codes, bands = self.lm.vocabulary.codes, self.flow.mel
        if codes > self.flow.vocabulary:
            raise SpeechError(
                f"expected a flow that knows the {codes} codes of the language model, it knows {self.flow.vocabulary}: "
                "take both from one model"
            )
        if self.flow.symbols not in (0, self.lm.vocabulary.symbols):
            raise SpeechError(
                f"expected a flow that knows the language model's {self.lm.vocabulary.symbols} text symbols, or none, "
                f"it knows {self.flow.symbols}: take both from one model"
            )
        if self.tokenizer and prod(self.tokenizer.levels) > codes:
            raise SpeechError(
                f"expected a speech tokenizer with the {codes} codes of the language model, it has "
                f"{prod(self.tokenizer.levels)}: take both from one model"
            )
        if not bands == self.vocoder.features == self.mel.features:
            raise SpeechError(
                f"expected a vocoder and prompts with the {bands} mel bands of the flow, they have "
                f"{self.vocoder.features} and {self.mel.features}: take all from one model"
            )
        if self.speaker and self.speaker.dim != self.flow.speaker:
            raise SpeechError(
                f"expected speaker vectors of {self.flow.speaker} values, which the flow takes, the speaker encoder "
                f"gives {self.speaker.dim}: take both from one model"
            )


class SynthesiserModel(nn.Module):
    """Language model, flow and vocoder, and where they are there speech tokenizer and speaker encoder."""

    def __init__(self, config: SynthesiserConfig) -> None:
        super().__init__()
        self.config = config
        self.lm, self.flow = TextSpeechLM(config.lm), Flow(config.flow)
        self.vocoder = HiFT(config.vocoder) if isinstance(config.vocoder, HiFTConfig) else Vocos(config.vocoder)
        self.tokenizer = (
            S3Tokenizer(config.tokenizer)
            if isinstance(config.tokenizer, S3Config)
            else ContentEncoder(config.tokenizer)
            if config.tokenizer
            else None
        )
        self.speaker = CAMPPlus(config.speaker) if config.speaker else None
