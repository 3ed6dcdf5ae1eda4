"""Target voices: what a converter must know of a speaker, computed once and kept."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.functional import cosine_similarity

from speech.audio.file import Audio, Reader, blocks
from speech.audio.mel import LogMel, MelConfig
from speech.audio.resample import resample
from speech.content.reference import RATE, SILENCE, SpeakerEncoder, mean_vector, recording
from speech.content.voiced import require_voice
from speech.errors import SpeechError
from speech.streaming.frames import Frames
from speech.vc.matching import measured
from speech.vc.model import ConverterModel, ConverterModelConfig
from speech.vc.timbre import Match, PromptConfig

SHORTEST, LONGEST = 1.0, 60.0
"""Seconds that a reference recording must have, and that are heard of a longer one."""

PROMPT = 20.0
"""Seconds of mel frames that are kept of all references of a voice together."""

MATCHED, EACH = 10.0, 2.0
"""Seconds of all references of a voice together that are converted into it, for what is to be matched, and of each at
the least."""

FAINT, USUAL = 0.01, 0.05
"""Root mean square under which a recording is amplified (-40 dB of full scale), and to which (-26 dB)."""

FULL_SCALE, CLIPPED = 0.999, 1e-3
"""Samples from this level on are cut off; a recording with a larger share of them is clipped."""


ALIKE, HALF = 0.4, 2.0
"""Cosine of the vectors of a recording's halves under which two people speak in it, and seconds that a half must have.

So low that a single speaker raises no alarm, at the price that many a pair goes unnoticed."""


@dataclass(frozen=True, eq=False)
class TargetVoice:
    """A speaker to convert to. speaker: [s], the speaker vector; mel: [p, bands], mel frames of the references; match:
    what is matched of him, for a model that does so."""

    speaker: Tensor
    mel: Tensor
    match: Match | None = None


def fitting(config: ConverterModelConfig, name: str, voice: TargetVoice) -> TargetVoice:
    """A voice, if a model of this configuration can convert to it. Raises SpeechError otherwise."""
    network = config.network
    fits = voice.speaker.shape == (network.speaker,) and voice.mel.shape[1:] == (network.mel,)
    if isinstance(network.timbre, PromptConfig) and not len(voice.mel):
        fits = False
    if config.matching and voice.match is None:
        raise SpeechError(
            f"expected a target with what this model matches, {name!r} was saved without: take it up from its "
            "recording again"
        )
    if config.matching and [list(x.shape) for x in voice.match or ()] != [[], [network.mel], [network.mel]]:
        fits = False
    tensors = [voice.speaker, voice.mel, *(voice.match or ())]
    if not fits or not all(tensor.isfinite().all() for tensor in tensors):
        raise SpeechError(
            f"expected a target of this model (speaker vectors of {network.speaker} values, {network.mel} mel bands), "
            f"{name!r} is of another: take it up from its recording again"
        )
    return voice


def prompt_frames(mel: MelConfig, seconds: float = PROMPT) -> int:
    """Mel frames that are kept, at the most, of all references of a voice together."""
    return round(seconds * mel.sample_rate / mel.hop)


def take_up(recordings: Sequence[str | Path | Audio], model: ConverterModel, seconds: float = PROMPT) -> TargetVoice:
    """The voice of one or more recordings of a speaker: their mean vector, mel frames of all of them, and what the
    model matches of him. The model has a speaker encoder.

    seconds: of mel frames that are kept, of no recording more than its share. Warns of recordings that are clipped, and
    of those in which somebody speaks for a small part only, or one voice first and then another. Raises SpeechError for
    none, and for one that cannot be read, is shorter than a second or silent, or in which nobody speaks.
    """
    if not recordings:
        raise SpeechError("expected at least one recording of the target, got none: name one")
    if strange := [source for source in recordings if not isinstance(source, str | os.PathLike | Audio)]:
        raise SpeechError(f"expected paths or Audio as recordings of the target, got {strange[0]!r}: correct that")
    speaker, mel, samples = model.speaker, model.config.mel, [_heard(source) for source in recordings]
    assert speaker is not None
    for source, x in zip(recordings, samples, strict=True):
        warn_several(_name(source), x, speaker)
    front, room = LogMel(mel), prompt_frames(mel, seconds) // len(samples)
    with torch.inference_mode():
        frames = [front(_whole(x, mel.sample_rate)).data[0] for x in samples]
    vector = mean_vector([speaker.embed(x) for x in samples])
    voice = TargetVoice(vector, torch.cat([x[:room] for x in frames]))
    return replace(voice, match=_matched(model, voice, samples, frames)) if model.config.matching else voice


def count_clipped(samples: np.ndarray) -> int:
    """How many samples [n] lie at full scale."""
    return int(np.count_nonzero(np.abs(samples) >= FULL_SCALE))


def warn_clipped(name: str, clipped: int, count: int) -> None:
    """Warn if too many samples of a recording are cut off."""
    if clipped > CLIPPED * count:
        warnings.warn(
            f"{name} is clipped ({100 * clipped / count:.1f} % of its samples at full scale), so the voice may sound "
            "rough: record it again, more quietly",
            stacklevel=2,
        )


def warn_several(name: str, x: np.ndarray, speaker: SpeakerEncoder) -> None:
    """Warn if a recording, [n] at 16 kHz, seems to begin in one voice and to end in another."""
    halves = np.array_split(x, 2)
    if len(x) < 2 * HALF * RATE or any(np.abs(half).max() < SILENCE for half in halves):
        return
    if cosine_similarity(*(speaker.embed(half) for half in halves), dim=0) < ALIKE:
        warnings.warn(
            f"{name} sounds as if two people spoke in it, so the voice may be that of neither: cut out one of them",
            stacklevel=2,
        )


def pack_targets(voices: Mapping[str, TargetVoice]) -> bytes:
    """Voices by name, in their order, as the content of a `targets.safetensors`."""
    tensors = {}
    for order, (name, voice) in enumerate(voices.items()):
        tensors[f"{name}.order"] = torch.tensor(order)
        tensors[f"{name}.speaker"] = voice.speaker.cpu().contiguous()
        tensors[f"{name}.mel"] = voice.mel.cpu().contiguous()
        for part, tensor in (voice.match._asdict() if voice.match else {}).items():
            tensors[f"{name}.match_{part}"] = tensor.cpu().contiguous()
    return save(tensors)


def read_targets(path: Path) -> dict[str, TargetVoice]:
    """The voices of a `targets.safetensors`, by name, in their order. Raises SpeechError for a damaged file."""
    try:
        tensors = load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise SpeechError(f"expected {path} to be whole, it is damaged or cut short: fetch it again") from error
    names = {key.rpartition(".")[0] for key in tensors}
    voices = {}
    for name in sorted(names, key=lambda name: (int(tensors.get(f"{name}.order", 0)), name)):
        parts = [tensors.get(f"{name}.{part}", torch.empty(())) for part in ("speaker", "mel")]
        if [part.dim() for part in parts] != [1, 2]:
            raise SpeechError(
                f"expected a speaker vector and mel frames of the target {name!r} in {path}, got something else: save "
                "it anew"
            )
        match = [tensors.get(f"{name}.match_{part}") for part in Match._fields]
        kept = Match(*(x.float() for x in match if x is not None)) if None not in match else None
        voices[name] = TargetVoice(parts[0].float(), parts[1].float(), kept)
    if not voices:
        raise SpeechError(f"expected targets in {path}, it holds none: save one with Converter.save_target")
    return voices


def _matched(model: ConverterModel, voice: TargetVoice, samples: list[np.ndarray], frames: list[Tensor]) -> Match:
    """What the model matches of a voice. samples: [n] at 16 kHz; frames: [p, bands], of each of the references."""
    network, rate = model.network, model.config.sample_rate
    device, contents = network.noise.device, model.contents(network.config.chunk)
    with torch.inference_mode():
        parts = [_whole(x[: round(max(MATCHED / len(samples), EACH) * RATE)], rate).data.to(device) for x in samples]
        said = [contents(Frames.whole(part)).data[0] for part in parts]
        target = network.target(voice.speaker[None].to(device), voice.mel[None].to(device))
        match = measured(said, [x.to(device) for x in frames], network, network.solver(), target)
    return Match(*(x.cpu() for x in match))


def _whole(x: np.ndarray, rate: int) -> Frames:
    """Samples [n] at 16 kHz as a whole signal at another rate."""
    return Frames.whole(torch.from_numpy(resample(x, RATE, rate))[None])


def _heard(source: str | Path | Audio) -> np.ndarray:
    """What is heard of a reference recording, float32 [n] at 16 kHz: little of what comes before somebody speaks, and a
    faint one amplified, since what is converted takes after its level."""
    name = _name(source)
    audio = source if isinstance(source, Audio) else _beginning(source)
    try:
        x = recording(audio.samples, audio.sample_rate, shortest=SHORTEST, audible=True).numpy()
        x = x[: round(LONGEST * RATE)]
        begin = require_voice(name, x)
    except SpeechError as error:
        raise SpeechError(f"{name} cannot be a target: {error}") from error
    warn_clipped(name, count_clipped(audio.samples), len(audio.samples))
    x = x[max(0, begin - round(SHORTEST * RATE)) :]
    level = float(np.sqrt(np.mean(x**2)))
    return x * np.float32(USUAL / level) if level < FAINT else x


def _name(source: str | Path | Audio) -> str:
    """What a recording is called in a message."""
    return "the recording" if isinstance(source, Audio) else str(source)


def _beginning(path: str | Path) -> Audio:
    """The first minute of a file, at its own rate, at which clipping shows."""
    with Reader(path) as reader:
        rate = reader.sample_rate
    parts, count = [], 0
    for part in blocks(path, rate):
        parts.append(part)
        count += len(part)
        if count >= LONGEST * rate:
            break
    return Audio(np.concatenate(parts), rate)
