"""The converter's networks as one module, as a checkpoint holds them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor, nn

from speech.audio.mel import MEANVC_MEL, MelConfig
from speech.content.campplus import CAMPPlus, CAMPPlusConfig
from speech.content.encoder import ContentConfig, ContentEncoder
from speech.content.u2pp import U2PPConfig, U2PPEncoder
from speech.content.wavlm import WavLMSpeakerConfig, WavLMSpeakerEncoder
from speech.errors import SpeechError
from speech.streaming.module import Pointwise, Sequential, Streaming
from speech.streaming.resample import Resample
from speech.vc.matching import Colour, MatchConfig, TuneMatch
from speech.vc.network import ConverterConfig, ConverterNetwork
from speech.vocoder.hift import HiFTConfig
from speech.vocoder.model import vocoder
from speech.vocoder.vocos import VocosConfig

SHORTEST_CHUNK = 2
"""Content frames of the shortest chunk (80 ms) that a U2++ encoder is run with."""


@dataclass(frozen=True)
class ConverterModelConfig:
    """A converter's parts. Defaults: MeanVC at 200 ms, without its speaker encoder.

    form: of what a `ContentEncoder` gives, see there. level: the vocoder reads slope * mel + offset of the network's
    mel frames. mel: of reference recordings. speaker: None where the part that makes speaker vectors of recordings is
    not there. matching: what is matched of targets besides (`vc.matching`), where content is "said"; None for nothing.
    Raises SpeechError for parts that do not fit one another.
    """

    content: U2PPConfig | ContentConfig = field(default_factory=U2PPConfig)
    form: Literal["features", "embedding", "said"] = "embedding"
    network: ConverterConfig = field(default_factory=ConverterConfig)
    level: tuple[float, float] = (0.5, 0.5)
    vocoder: VocosConfig | HiFTConfig = field(default_factory=VocosConfig)
    mel: MelConfig = MEANVC_MEL
    speaker: CAMPPlusConfig | WavLMSpeakerConfig | None = None
    matching: MatchConfig | None = None

    def __post_init__(self) -> None:
        network, mel, voice = self.network, self.mel, self.vocoder
        content, taken = self.content, network.given or network.content
        if self.matching and self.form != "said":
            raise SpeechError(f"expected content of the form said for matching, got {self.form}: leave matching out")
        width = content.width(self.form) if isinstance(content, ContentConfig) else content.dim
        if width != taken:
            raise SpeechError(
                f"expected content features of {taken} values, which the network takes, the content encoder gives "
                f"{width}: take both from one model"
            )
        if not network.mel == voice.features == mel.features:
            raise SpeechError(
                f"expected a vocoder and references with the {network.mel} mel bands of the network, they have "
                f"{voice.features} and {mel.features}: take all from one model"
            )
        frames = (self.content.frame / network.rate, mel.hop / mel.sample_rate, voice.hop / voice.sample_rate)
        if max(frames) - min(frames) > 1e-9:
            raise SpeechError(
                "expected mel frames of one length from the network, of the references and for the vocoder, got "
                f"{', '.join(f'{1e3 * frame:g}' for frame in frames)} ms: take all from one model"
            )
        if self.speaker:
            dim = self.speaker.dim if isinstance(self.speaker, CAMPPlusConfig) else self.speaker.ecapa.dim
            if dim != network.speaker:
                raise SpeechError(
                    f"expected speaker vectors of {network.speaker} values, which the network takes, the speaker "
                    f"encoder gives {dim}: take both from one model"
                )

    @property
    def sample_rate(self) -> int:
        """Of what is converted, in Hz."""
        return self.content.mel.sample_rate

    @property
    def frame(self) -> float:
        """Seconds of a mel frame."""
        return self.vocoder.hop / self.vocoder.sample_rate


class ConverterModel(nn.Module):
    """Content encoder, network and vocoder, and where it is there the speaker encoder."""

    def __init__(self, config: ConverterModelConfig) -> None:
        super().__init__()
        self.config = config
        self.content = (
            ContentEncoder(config.content) if isinstance(config.content, ContentConfig) else U2PPEncoder(config.content)
        )
        self.network, self.vocoder = ConverterNetwork(config.network), vocoder(config.vocoder)
        self.speaker = (
            CAMPPlus(config.speaker)
            if isinstance(config.speaker, CAMPPlusConfig)
            else WavLMSpeakerEncoder(config.speaker)
            if config.speaker
            else None
        )

    def contents(self, chunk: int) -> Sequential:
        """Samples [b, n] to content features [b, t, content], as one streamable module, for chunks of mel frames.

        A U2++ encoder, whose frames see one another within a chunk, runs with chunks of its own of the same length.
        """
        content = self.content
        if isinstance(content, ContentEncoder):
            return content.pipeline(self.config.form)
        own = replace(content.config, chunk=max(chunk // self.config.network.rate, SHORTEST_CHUNK))
        if own == content.config:
            return content.pipeline()
        other = U2PPEncoder(own)
        other.load_state_dict(content.state_dict(keep_vars=True), assign=True)
        return other.eval().pipeline()

    def pipeline(self, contents: Streaming, network: Streaming, sample_rate: int, output_rate: int) -> Sequential:
        """Samples [b, n] at `sample_rate` Hz to samples at `output_rate` Hz, as one streamable module.

        contents: of `contents`; network: of `ConverterNetwork.pipeline`. The stages: `resampling_in`, `content`,
        `network`, `vocoder`, `resampling_out`; of these the resampling ones are left out where there is nothing to
        resample. Around the network, where something is matched: `tune` and `colour`.
        """
        own_in, own_out, device = self.config.sample_rate, self.config.vocoder.sample_rate, self.network.noise.device
        stages: dict[str, nn.Module] = {"content": contents, "network": network}
        if self.config.matching:
            tune = TuneMatch(self.config.matching, self.config.content.frame)
            stages = {"content": contents, "tune": tune, "network": network, "colour": Colour(self.config.network.mel)}
        stages["vocoder"] = Sequential(level=Pointwise(self._leveled), vocoder=self.vocoder)
        if sample_rate != own_in:
            stages = {"resampling_in": Resample(sample_rate, own_in).to(device), **stages}
        if output_rate != own_out:
            stages["resampling_out"] = Resample(own_out, output_rate).to(device)
        return Sequential(**stages)

    def _leveled(self, mel: Tensor) -> Tensor:
        slope, offset = self.config.level
        return mel * slope + offset
