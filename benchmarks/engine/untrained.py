"""Recognisers with random weights that write about as much as others do."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmarks.asr_step.heads import speak
from benchmarks.engine.people import recording
from speech.asr.encoder import EncoderConfig
from speech.asr.model import FastConformer, FastConformerConfig, PredictionConfig
from speech.asr.recogniser import Recogniser
from speech.asr.tokenizer import Tokenizer
from speech.kernels.linear import pack
from speech.streaming.frames import Frames

HEARD = 4.0  # seconds of the recording by which it is settled how much is written

SIZES = {
    "114m": FastConformerConfig(),
    "600m": FastConformerConfig(encoder=EncoderConfig(dim=1024, layers=24, bias=False)),
    "tiny": FastConformerConfig(
        encoder=EncoderConfig(dim=16, layers=2, heads=2, subsampling_channels=4),
        vocabulary=16,
        prediction=PredictionConfig(dim=16, layers=1, joint_dim=16),
    ),
}
"""The public 114 M and 600 M streaming models' shapes; tiny is for smoke tests."""


class Numbers(Tokenizer):
    """Every token is a word: its number."""

    def __init__(self, size: int) -> None:
        self.pieces = [f"▁{i}" for i in range(size)]

    def encode(self, text: str) -> list[int]:
        return [int(word) for word in text.split()]

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(map(str, ids))

    def starts_word(self, token: int) -> bool:
        return True


def untrained(name: str, device: torch.device, look_ahead: int) -> Recogniser:
    """A recogniser of this size, in bfloat16 on a card and float32 elsewhere. look_ahead: milliseconds."""
    config = SIZES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = FastConformer(config).eval()
    assert model.prediction and model.joint
    rate = config.mel.sample_rate
    samples = torch.from_numpy(recording(rate)[: round(HEARD * rate)])
    with torch.inference_mode():
        frames = model.pipeline(config.look_aheads[look_ahead])(Frames.whole(samples[None])).data[0]
    speak(model.prediction, model.joint, frames.clone())
    if device.type == "cuda":
        for parameter in model.parameters():
            parameter.data = parameter.data.to(torch.bfloat16)
    else:
        pack(model)
    return Recogniser(model, Numbers(config.vocabulary), look_ahead=look_ahead, device=device)
