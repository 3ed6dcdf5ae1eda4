"""The converter: recordings and live sound into other voices."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import gcd
from pathlib import Path

import numpy as np
import torch

from speech.audio.file import SHORTEST, STDIN, Audio, Reader, blocks
from speech.audio.resample import resample
from speech.audio.samples import to_float
from speech.content.reference import RATE, SpeakerEncoder
from speech.content.voiced import NONE, VoiceShare
from speech.content.voices import Kind, Voices
from speech.errors import SpeechError
from speech.vc.host import ConverterHost
from speech.vc.model import ConverterModel, ConverterModelConfig
from speech.vc.session import ConversionStream, Latency, Setup
from speech.vc.timbre import Match, PromptConfig, Target
from speech.vc.voice import (
    PROMPT,
    TargetVoice,
    count_clipped,
    fitting,
    pack_targets,
    prompt_frames,
    read_targets,
    take_up,
    warn_clipped,
)

FINEST = 1 << 19  # up * down of the finest resampling inside the networks: its filters have some more weights than that


class Converter:
    """Networks and target voices, ready to convert. It holds nothing of a stream: open as many as you like.

    model: in evaluation mode. targets: by name, the default first. chunk: milliseconds of sound that are converted at
    once, steps: evaluations of the network for each (default: as the model was trained). Raises SpeechError for what
    the model cannot be run with, and for targets of another model.
    """

    def __init__(
        self,
        model: ConverterModel,
        targets: Mapping[str, TargetVoice] | None = None,
        *,
        chunk: float | None = None,
        steps: int | None = None,
    ) -> None:
        self.model, config = model, model.config.network
        frames = config.chunk if chunk is None else chunk_frames(chunk, model.config)
        usual = steps is None or steps == config.sampling.steps
        self._sampling = config.sampling if usual else replace(config.sampling, steps=steps or 0, times=None)
        self._network, self._contents = model.network.at(frames), model.contents(frames)
        self._speaker: SpeakerEncoder | None = model.speaker
        kind = Kind("target", partial(fitting, model.config), pack_targets, read_targets)
        self._voices = Voices(kind, targets or {}, lambda name, _: self._targets.pop(name, None))
        self._targets: dict[str, Target] = {}

    @property
    def sample_rate(self) -> int:
        """The model's own rate for what is converted, in Hz; other rates are resampled."""
        return self.model.config.sample_rate

    @property
    def output_rate(self) -> int:
        """The model's own rate for what comes out, in Hz."""
        return self.model.config.vocoder.sample_rate

    @property
    def targets(self) -> list[str]:
        """Names of the target voices; the first is the default."""
        return list(self._voices)

    @property
    def latency(self) -> Latency:
        """The delay of a stream at the model's own rates, computing aside."""
        return self._setup(self.sample_rate, self.output_rate).latency

    def convert(
        self,
        audio: str | Path | Audio | np.ndarray,
        target: str | Path | None = None,
        sample_rate: int | None = None,
    ) -> Audio:
        """A whole recording in another voice, as long as it was and aligned with it, at `output_rate` Hz.

        audio: a file, or samples [n] (float32 or int16) at `sample_rate` Hz. target: see `take_up`. It runs in the
        steps of a live stream, since a source-filter vocoder makes much of the least rounding. Warns of a recording
        that is clipped, or in which nobody speaks. Raises SpeechError for one that cannot be read, is too short or
        silent, and for a target that is not there.
        """
        return Audio(np.concatenate([*self.pieces(audio, target, sample_rate)]), self.output_rate)

    def pieces(
        self,
        audio: str | Path | Audio | np.ndarray,
        target: str | Path | None = None,
        sample_rate: int | None = None,
    ) -> Iterator[np.ndarray]:
        """What `convert` gives, piece by piece, [m] float32 each, in memory that does not grow with the recording."""
        rate, parts = self._sound(audio, sample_rate)
        with self._open(self.take_up(target), rate, self.output_rate) as stream:
            early, clipped, count, voice = stream.delay, 0, 0, VoiceShare()
            for part in parts:
                clipped, count = clipped + count_clipped(part), count + len(part)
                if not voice.done:
                    voice.push(resample(part, rate, RATE))
                out = stream.push(part)
                yield out[early:]
                early -= min(early, len(out))
            yield stream.flush()[early:]
        name = str(audio) if isinstance(audio, str | os.PathLike) else "the recording"
        warn_clipped(name, clipped, count)
        if voice.share is not None and voice.share < NONE:
            warnings.warn(f"nobody seems to speak in {name}, and no voice comes out of it", stacklevel=2)
        if stream.muted_chunks:
            warnings.warn(f"{stream.muted_chunks} parts of {name} went wrong and are silent", stacklevel=2)

    def stream(
        self, sample_rate: int, target: str | Path | None = None, output_rate: int | None = None
    ) -> ConversionStream:
        """Open a live stream of samples at `sample_rate` Hz.

        target: see `take_up`. output_rate: of what comes out (default: the model's own). Raises SpeechError for a
        target that is not there, and for a rate that has no simple ratio to the model's, as all usual ones have.
        """
        sample_rate, output_rate = self._rates(sample_rate, output_rate)
        return self._open(self.take_up(target), sample_rate, output_rate)

    def host(self, slots: int, *, rates: Sequence[tuple[int, int | None]] | None = None) -> ConverterHost:
        """Room for `slots` streams from each of these sample rates to another in Hz, for an `Engine`.

        rates: None for the second is the model's own (default: its own for both). Raises SpeechError as `stream` does.
        """
        known = [self._rates(*pair) for pair in rates or [(self.sample_rate, None)]]
        return ConverterHost([self._setup(*pair) for pair in known], self._target, lambda: self._voices.default, slots)

    def take_up(self, target: str | Path | None) -> str:
        """The name of a target: one of `targets` (None: the default), or one that is added now, under its path as name.

        target: a name, a recording of the speaker, or a file that `save_target` wrote. Raises SpeechError for neither.
        """
        return self._voices.default if target is None else self._voices.take_up(target, self.add_target)

    def add_target(self, name: str, *recordings: str | Path | Audio) -> None:
        """Take up a voice from one or more recordings of it, each of at least a second, under a name.

        Several count alike. Warns of clipped ones, and of those in which two people seem to speak, or one seldom.
        Raises SpeechError where the model cannot take voices up, and for a recording that is too short, silent or
        unreadable, or in which nobody speaks.
        """
        if self._speaker is None:
            raise SpeechError(
                "expected a model that takes targets up from recordings, this one has no speaker encoder: choose of "
                f"{self._voices.known}"
            )
        config = self.model.config
        seconds = PROMPT if isinstance(config.network.timbre, PromptConfig) else 0.0
        self._voices.keep(name, take_up(recordings, self.model, seconds))

    def save_target(self, name: str, path: str | Path) -> None:
        """Write a target to a `.safetensors` file, so that it need not be taken up from its recordings again.

        Raises SpeechError for a target that is not there and a file that cannot be written.
        """
        self._voices.save(name, path)

    def load_targets(self, path: str | Path) -> list[str]:
        """Add the targets of a file that `save_target` wrote; returns their names.

        Raises SpeechError for a file that is damaged or not there, and for targets of another model.
        """
        return self._voices.load(path)

    def prefer(self, name: str) -> None:
        """Make a target the default. Raises SpeechError if it is not there."""
        self._voices.prefer(name)

    def _target(self, name: str) -> Target:
        """What the network knows of a target, made once."""
        if name not in self._targets:
            voice, device = self._voices[name], self._network.noise.device
            with torch.no_grad():
                mel = voice.mel[None].to(device) if len(voice.mel) else None
                target = self._network.target(voice.speaker[None].to(device), mel)
            if voice.match is not None and self.model.config.matching:
                target = replace(target, match=Match(*(x.to(device) for x in voice.match)))
            if device.type == "cuda":  # who copies it to a stream may do so in another CUDA stream
                torch.cuda.current_stream(device).synchronize()
            self._targets[name] = target
        return self._targets[name]

    @property
    def _room(self) -> int:
        """Frames of the longest reference, of the targets that there are and of those that can be taken up."""
        known = [len(voice.mel) for voice in self._voices.values()]
        return max([1, *known, prompt_frames(self.model.config.mel) if self._speaker else 0])

    def _rates(self, sample_rate: int, output_rate: int | None) -> tuple[int, int]:
        """Both rates of a stream. Raises SpeechError for one that cannot be resampled inside the networks."""
        output_rate = self.output_rate if output_rate is None else output_rate
        for rate, own in ((sample_rate, self.sample_rate), (output_rate, self.output_rate)):
            if not simple(rate, own):
                raise SpeechError(
                    f"expected a sample rate with a simple ratio to {own} Hz, such as 8000, 16000, 22050, 24000, 44100 "
                    f"or 48000 Hz, got {rate!r}: resample the sound first"
                )
        return sample_rate, output_rate

    def _setup(self, sample_rate: int, output_rate: int) -> Setup:
        network = self._network.pipeline(self._room, self._sampling)
        pipeline = self.model.pipeline(self._contents, network, sample_rate, output_rate)
        return Setup(pipeline, sample_rate, output_rate)

    def _open(self, target: str, sample_rate: int, output_rate: int) -> ConversionStream:
        return ConversionStream(self._setup(sample_rate, output_rate), self._target, target)

    def _sound(
        self, audio: str | Path | Audio | np.ndarray, sample_rate: int | None
    ) -> tuple[int, Iterable[np.ndarray]]:
        """Rate and parts of a recording, at its own rate where streams take that."""
        if isinstance(audio, str | os.PathLike | Audio) and sample_rate is not None:
            raise SpeechError("expected no sample rate beside a recording that has its own, got one: leave it out")
        if isinstance(audio, str | os.PathLike):
            rate = self.sample_rate
            if str(audio) != STDIN:
                with Reader(audio) as reader:
                    rate = reader.sample_rate if simple(reader.sample_rate, rate) else rate
            return rate, blocks(audio, rate)
        samples, rate = (audio.samples, audio.sample_rate) if isinstance(audio, Audio) else (audio, sample_rate)
        x = to_float(samples)
        if rate is None:
            raise SpeechError("expected a sample rate beside an array of samples, got none: pass sample_rate=...")
        if not simple(rate, self.sample_rate):
            x, rate = resample(x, rate, self.sample_rate), self.sample_rate
        if len(x) < SHORTEST * rate or not x.any():
            found = f"{1e3 * len(x) / rate:.2g} ms" if len(x) < SHORTEST * rate else "silence"
            raise SpeechError(f"expected at least {SHORTEST * 1e3:.0f} ms of speech, got {found}: check the recording")
        return rate, (x[i : i + rate] for i in range(0, len(x), rate))


def simple(rate: int, own: int) -> bool:
    """Whether sound can be resampled inside the networks: its filters grow with the ratio in lowest terms."""
    return isinstance(rate, int) and rate > 0 and rate * own // gcd(rate, own) ** 2 <= FINEST


def chunk_frames(milliseconds: float, config: ConverterModelConfig) -> int:
    """Mel frames of a chunk. Raises SpeechError unless it is a whole number of content features long."""
    unit = 1e3 * config.content.frame
    count = round(milliseconds / unit)
    if count < 1 or abs(count * unit - milliseconds) > 1e-6:
        raise SpeechError(f"expected a chunk of a multiple of {unit:g} ms, got {milliseconds:g} ms: round it")
    return count * config.network.rate
