"""Golden numbers of the speech tokenizer and the speaker encoder, made by the original models at reduced size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speech.content.campplus import CAMPPlus, centred
from speech.content.s3 import S3Tokenizer
from speech.hub.checkpoint import build
from speech.hub.cosyvoice.content import from_campplus, from_s3_tokenizer_v2
from speech.streaming.frames import Frames

Arrays = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _inference() -> object:
    with torch.inference_mode():
        yield


def arrays(folder: Path) -> Arrays:
    with np.load(folder / "io.npz") as found:
        return {name: torch.from_numpy(found[name]) for name in found}


def samples(golden: Arrays, name: str) -> Tensor:
    return golden[name].float() / 32768


def close(got: Tensor, wanted: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(got, wanted, atol=tolerance, rtol=0)


@pytest.fixture(scope="module")
def s3(shared: Path) -> tuple[S3Tokenizer, Arrays]:
    folder = shared / "fixtures/s3tokenizer_v2"
    tensors = torch.load(folder / "speech_tokenizer_v2.pt", weights_only=True)
    config, weights = from_s3_tokenizer_v2(tensors)
    model = build(S3Tokenizer, config, weights, "speech_tokenizer_v2.pt")
    assert isinstance(model, S3Tokenizer)
    return model.eval(), arrays(folder)


@pytest.fixture(scope="module")
def campplus(shared: Path) -> tuple[CAMPPlus, Arrays]:
    folder = shared / "fixtures/campplus"
    config, weights = from_campplus(torch.load(folder / "campplus.bin", weights_only=True))
    model = build(CAMPPlus, config, weights, "campplus.bin")
    assert isinstance(model, CAMPPlus)
    return model.eval(), arrays(folder)


@pytest.mark.parametrize("name", ["0", "1"])
def test_speech_tokens(s3: tuple[S3Tokenizer, Arrays], name: str) -> None:
    model, golden = s3
    x = samples(golden, f"audio{name}")
    mel = model.mel(Frames.whole(x[None]))
    close(mel.data[0].T, golden[f"logmel{name}"], 1e-5)
    hidden = model.hidden(mel).data
    close(hidden[0], golden[f"hidden{name}"], 2e-4)
    close(model.project(hidden)[0], golden[f"predown{name}"], 2e-4)
    assert torch.equal(model(Frames.whole(x[None])).data[0].int(), golden[f"codes{name}"])
    assert torch.equal(model.encode(x).int(), golden[f"codes{name}"])


def test_speech_tokens_of_a_padded_batch(s3: tuple[S3Tokenizer, Arrays]) -> None:
    model, golden = s3
    clips = [samples(golden, "audio0"), samples(golden, "audio1")]
    batch = pad_sequence(clips, batch_first=True, padding_value=float("nan"))
    codes = model(Frames.whole(batch, torch.tensor([len(clip) for clip in clips])))
    assert torch.equal(codes.lengths.int(), golden["batch_code_len"])
    for row, count in enumerate(codes.lengths.tolist()):  # behind the end the original leaves codes of padding
        assert torch.equal(codes.data[row, :count].int(), golden["batch_codes"][row, :count])


def test_speech_tokens_of_a_long_recording(s3: tuple[S3Tokenizer, Arrays]) -> None:
    model, golden = s3
    x = samples(golden, "audio_long")
    close(model.mel(Frames.whole(x[None])).data[0, :50].T, golden["logmel_long_head"], 1e-5)
    codes = model.encode(x).int()
    assert codes.shape == golden["codes_long"].shape
    assert (codes != golden["codes_long"]).float().mean() <= 0.01


@pytest.mark.parametrize("name", ["0", "1"])
def test_speaker_vector(campplus: tuple[CAMPPlus, Arrays], name: str) -> None:
    model, golden = campplus
    fbank = model.fbank(Frames.whole(samples(golden, f"audio{name}")[None]))
    close(fbank.data[0], golden[f"fbank{name}"], 2e-3)
    frames = centred(Frames.whole(golden[f"fbank{name}"][None]))
    close(model.vectors(frames)[0], golden[f"embedding{name}"], 2e-4)
    x, valid = frames.data.mT, torch.ones(1, 1, frames.place.count)
    front = model.front(x, valid)
    close(front[0, :, :5], golden[f"head{name}_t"], 2e-4)
    x, valid = model.tdnn_norm(model.tdnn(front)).relu(), valid[..., ::2]
    close(x[0], golden[f"tdnn{name}"], 2e-4)
    for layer in model.blocks[0]:  # type: ignore[attr-defined]
        x = layer(x, valid)
    close(x[0], golden[f"block1_{name}"], 2e-4)


def test_speaker_vector_from_samples(campplus: tuple[CAMPPlus, Arrays]) -> None:
    """The logarithms of the faintest bands differ by 2e-4 from the original's, which random weights make ten times."""
    model, golden = campplus
    for name in "01":
        close(model.embed(samples(golden, f"audio{name}")), golden[f"embedding{name}"], 5e-3)


def test_speaker_vectors_of_a_padded_batch(campplus: tuple[CAMPPlus, Arrays]) -> None:
    model, golden = campplus
    clips = [samples(golden, "audio0"), samples(golden, "audio1")]
    batch = pad_sequence(clips, batch_first=True, padding_value=float("nan"))
    got = model(Frames.whole(batch, torch.tensor([len(clip) for clip in clips])))
    for row, clip in zip(got, clips, strict=True):
        close(row, model(Frames.whole(clip[None]))[0], 1e-4)
