"""Voices: what the parts of a synthesiser must know of a speaker, computed once and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from speech.errors import SpeechError
from speech.tts.model import SynthesiserConfig

PARTS = ("speaker", "codes", "mel", "text", "index")
"""What a file holds of every voice; `gain` may be missing, and is 1 then."""


@dataclass(frozen=True, eq=False)
class Voice:
    """A speaker, and perhaps an example of the voice (a prompt), which the models go on from.

    speaker: [d], the speaker vector. codes: [p] int64, the prompt's speech codes. mel: [rate * p, bands], its mel
    frames. text: [n] int64, the text ids of what is said in it; empty where that is not known. index: the voice's row
    in a language model that was trained on a few voices. gain: what samples are multiplied by.
    """

    speaker: Tensor
    codes: Tensor
    mel: Tensor
    text: Tensor
    index: int = 0
    gain: float = 1.0

    @classmethod
    def plain(cls, speaker: Tensor, bands: int, index: int = 0) -> Voice:
        """A voice without a prompt. speaker: [d]."""
        none = torch.zeros(0, dtype=torch.long)
        return cls(speaker, none, speaker.new_zeros(0, bands), none, index)

    @classmethod
    def prompted(cls, speaker: Tensor, codes: Tensor, mel: Tensor, text: Tensor, rate: int = 2) -> Voice:
        """A voice with a prompt: codes [p] and mel frames [f, bands], `rate` a code, both cut to the shorter one."""
        count = min(len(codes), len(mel) // rate)
        return cls(speaker, codes[:count], mel[: rate * count], text)

    def to(self, device: torch.device) -> Voice:
        """The same voice with its speaker vector and mel frames on a device."""
        return Voice(self.speaker.to(device), self.codes, self.mel.to(device), self.text, self.index, self.gain)


def fitting(config: SynthesiserConfig, name: str, voice: Voice) -> Voice:
    """A voice, if a model of this configuration can speak with it. Raises SpeechError otherwise."""
    v, flow = config.lm.vocabulary, config.flow
    sizes = (flow.speaker,), (flow.rate * len(voice.codes), flow.mel)
    ids = ((voice.codes, v.codes), (voice.text, v.symbols), (torch.tensor(voice.index), max(v.voices, 1)))
    if sizes != (voice.speaker.shape, voice.mel.shape) or any(((x < 0) | (x >= count)).any() for x, count in ids):
        raise SpeechError(
            f"expected a voice of this model (speaker vectors of {flow.speaker}, {v.codes} codes, {flow.mel} mel "
            f"bands), {name!r} is of another: take it up from its recording again"
        )
    return voice


def pack_voices(voices: Mapping[str, Voice]) -> bytes:
    """Voices by name, in their order, as the content of a `voices.safetensors`."""
    tensors = {}
    for order, (name, voice) in enumerate(voices.items()):
        tensors[f"{name}.order"] = torch.tensor(order)
        tensors[f"{name}.gain"] = torch.tensor(voice.gain)
        for part in PARTS:
            value = getattr(voice, part)
            tensors[f"{name}.{part}"] = (torch.tensor(value) if part == "index" else value).cpu().contiguous()
    return save(tensors)


def read_voices(path: Path) -> dict[str, Voice]:
    """The voices of a `voices.safetensors`, by name, in their order. Raises SpeechError for a damaged file."""
    try:
        tensors = load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise SpeechError(f"expected {path} to be whole, it is damaged or cut short: fetch it again") from error
    voices = {}
    names = {key.rpartition(".")[0] for key in tensors}
    for name in sorted(names, key=lambda name: (int(tensors.get(f"{name}.order", 0)), name)):
        if any(f"{name}.{part}" not in tensors for part in PARTS):
            raise SpeechError(
                f"expected {', '.join(PARTS)} of the voice {name!r} in {path}, some are missing: add it anew"
            )
        speaker, codes, mel, text, index = (tensors[f"{name}.{part}"] for part in PARTS)
        gain = tensors.get(f"{name}.gain", torch.tensor(1.0))
        if (
            (len(mel) % len(codes) if len(codes) else len(mel))
            or speaker.dim() != 1
            or index.dim()
            or not 0 < gain < 99
        ):
            raise SpeechError(
                f"expected parts that fit together of the voice {name!r} in {path}, they do not: add it anew"
            )
        voices[name] = Voice(speaker.float(), codes.long(), mel.float(), text.long(), int(index), float(gain))
    return voices
