"""What plain statistics of a target's recordings tell: how high the voice is, and the colour of its sound.

A network follows the tune of the source, and with it some of how high the source speaks; and what it makes of a voice
that it has not heard in training is coloured otherwise than that voice. Both errors are constant enough to be measured
when a target is taken up, and undone in every stream.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from speech.content.encoder import TUNE
from speech.errors import SpeechError
from speech.streaming.attention import chosen
from speech.streaming.frames import Frames
from speech.streaming.module import Device, State, Streaming
from speech.vc.network import ConverterNetwork
from speech.vc.solver import ChunkSolver
from speech.vc.timbre import Match, Target

LEAST = 0.2
"""Share of the frames of a target's recordings, the loudest, that count at the least; else those of the upper half of
the range of levels do."""

STEEPEST = 1.5
"""Factor by which the contrast of a band changes, at the most."""


@dataclass(frozen=True)
class MatchConfig:
    """What is matched. tune: how far f0 is moved from the source's mean to the target's; 1 is all the way, and more
    makes up for what the network keeps of the source's. memory: seconds after which a frame counts 1 / e of what a new
    one does in the source's mean. prior: seconds of a voice of usual height that it begins with. Raises SpeechError
    unless both are above 0."""

    tune: float = 1.0
    memory: float = 100.0
    prior: float = 1.0

    def __post_init__(self) -> None:
        if not (self.memory > 0 and self.prior > 0):
            raise SpeechError(
                f"expected a memory and a prior of more than 0 s, got {self.memory:g} and {self.prior:g} s: raise them"
            )


class TuneMatch(Streaming):
    """What is said, moved from the height of who says it to the target's. [b, t, vocabulary + 3] -> the same.

    The mean of log f0 is moved, the first step of Chappell and Hansen 1998 ("Speaker-specific pitch contour modelling
    and modification"), the source's as heard so far. The target's lies in the state, where `Match.write` puts it.
    frame: seconds of a frame.
    """

    def __init__(self, config: MatchConfig, frame: float) -> None:
        super().__init__()
        self.strength, self.prior = config.tune, config.prior / frame
        self.kept = math.exp(-frame / config.memory)

    def forward(self, frames: Frames) -> Frames:
        data = frames.data
        rows = torch.arange(len(data), device=data.device)
        return self.step(frames, self.init_state(len(data), data.device, data.dtype), rows)

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        return {
            "target": torch.zeros(slots, device=device, dtype=dtype),
            "heard": torch.zeros(slots, 2, device=device, dtype=dtype),
        }

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        tune = frames.zeroed()[..., -TUNE:-1]
        target, heard = (chosen(state[name], slots) for name in ("target", "heard"))
        sums = []
        for now in tune.unbind(1):
            heard = self.kept * heard + now
            sums.append(heard)
        if sums:
            state["heard"][slots] = heard
        f0, voice = torch.stack(sums, 1).unbind(-1) if sums else tune.unbind(-1)
        shift = self.strength * (target[:, None] - f0 / (voice + self.prior))
        moved = frames.data[..., -TUNE] + shift * frames.data[..., 1 - TUNE]
        return frames.like(torch.cat([frames.data[..., :-TUNE], moved[..., None], frames.data[..., 1 - TUNE :]], -1))


class Colour(Streaming):
    """Mel frames with the mean and the deviation that each band of the target has. [b, t, mel] -> the same.

    The postfilter of Silen et al. 2012 ("Ways to implement global variance in statistical speech synthesis"), for each
    target: gain and offset lie in the state, where `Match.write` puts them; before that nothing is changed.
    """

    def __init__(self, mel: int) -> None:
        super().__init__()
        self.mel = mel

    def forward(self, frames: Frames) -> Frames:
        return frames

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        return {name: torch.zeros(slots, self.mel, device=device, dtype=dtype) for name in ("contrast", "offset")}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        contrast, offset = (chosen(state[name], slots)[:, None] for name in ("contrast", "offset"))
        return frames.like(frames.data + contrast * frames.data + offset)


@torch.inference_mode()
def measured(
    said: Sequence[Tensor], spoken: Sequence[Tensor], network: ConverterNetwork, solver: ChunkSolver, target: Target
) -> Match:
    """What is to be matched of a target, whose own words go through the network.

    said: what is said in each of his recordings, [t, vocabulary + 3]; spoken: their mel frames, [n, mel]. network,
    solver: that make frames in the voice of `target`.
    """
    f0, voice = torch.cat([*said])[:, -TUNE:-1].sum(0)
    pairs = []
    for content, frames in zip(said, spoken, strict=True):
        conditions = network.conditioned(network.lead()(Frames.whole(content[None])).data, target)
        made = solver(Frames.whole(conditions)).data[0, : len(frames)]
        pairs.append((frames[: len(made)], made))
    true, made = (torch.cat([pair[i] for pair in pairs]) for i in range(2))
    level = true.mean(1)
    loud = level >= torch.minimum((level.min() + level.max()) / 2, level.quantile(1 - LEAST))  # a click is no speech
    gain = (true[loud].std(0) / made[loud].std(0).clamp(min=1e-3)).clamp(1 / STEEPEST, STEEPEST)
    return Match(f0 / voice.clamp(min=1), gain, true[loud].mean(0) - gain * made[loud].mean(0))
