"""Published causal Whispers from samples: features, encoder frames and ids of their own code, however sound comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import pad

from speech.asr.whisper.model import Whisper
from speech.asr.whisper.published import PieceMel
from speech.asr.whisper.search import Request, Search
from speech.audio.mel import LogMel, MelConfig
from speech.hub.whisper.weights import load_whisper
from speech.streaming.driver import Driver
from speech.streaming.frames import Frames
from speech.streaming.timing import phase_for
from tests.asr.whisper.small import SYMBOLS
from tests.asr.whisper.test_search import heard_by

SMALL = MelConfig(
    features=6, n_fft=20, window=20, hop=8, shape="hann_periodic", edges="reflect", guard="clamp", dynamic_range=1.0
)
FILE = Path("fixtures") / "careless_whisper_tiny"
SIZES = [30, *[15] * 24]
"""Encoder frames of its chunks; it says nothing with the first chunk of sound, which makes none."""


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def model(shared: Path) -> Whisper:
    return load_whisper(shared / FILE / "model.pt")


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, Tensor]:
    with np.load(shared / FILE / "io.npz") as data:
        return {name: torch.from_numpy(data[name]) for name in data.files}


@pytest.fixture(scope="module")
def samples(golden: dict[str, Tensor]) -> Tensor:
    return golden["audio_int16"].float() / 32768


def hypotheses(golden: dict[str, Tensor], mode: str) -> list[list[int]]:
    rows, lengths = golden[f"hyp_ids_{mode}"].tolist(), golden[f"hyp_len_{mode}"].tolist()
    return [row[:count] for row, count in zip(rows, lengths, strict=True)]


def loud(count: int) -> Tensor:
    """Noise that swells and fades. [n]."""
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, generator=generator) * torch.linspace(0, 12, count).sin() ** 4


@settings(max_examples=8, deadline=None)
@given(count=st.integers(0, 300), sizes=st.lists(st.integers(5, 90), min_size=1, max_size=3), piece=st.integers(1, 5))
def test_pieces_come_out_the_same_however_samples_are_pushed(count: int, sizes: list[int], piece: int) -> None:
    mel, x, got = PieceMel(SMALL, piece), loud(count), []
    assert mel.grain == 8 * piece
    phase = phase_for(mel)
    driver = Driver(mel, mel.grain, phase=phase, opening=8 * (piece + 2 - mel.first(phase)))
    for size in cycle(sizes):
        got.append(driver.push(x[:size]))
        x = x[size:]
        if not len(x):
            break
    expected = mel(Frames.whole(torch.stack([loud(count), torch.full((count,), torch.nan)]), torch.tensor([count, 0])))
    torch.testing.assert_close(torch.cat([*got, driver.flush()]), expected.data[0], atol=1e-6, rtol=0)
    assert len(expected.data[0]) == LogMel(SMALL).total(count)


def test_only_the_first_piece_is_early_and_floors_know_their_piece() -> None:
    """Beside frames that are cut out of the mirrored signal one by one."""
    x, piece = loud(400), 4
    mirrored = pad(x[None], (11, 11), mode="reflect")[0]
    cut = torch.stack([mirrored[8 * k + (k >= piece + 2) :][:20] for k in range(50)])
    bare = LogMel(replace(SMALL, edges="snip", dynamic_range=None))(Frames.whole(cut)).data[:, 0]
    ends = [(max((k - 2) // piece, 0) + 1) * piece + 2 for k in range(50)]
    floor = torch.stack([bare[:end].max() - 1.0 for end in ends])[:, None]
    got = PieceMel(SMALL, piece)(Frames.whole(x[None])).data[0]
    torch.testing.assert_close(got, torch.maximum(bare, floor), atol=1e-5, rtol=0)
    ordinary = LogMel(SMALL)(Frames.whole(x[None])).data[0]
    assert (ordinary[piece + 2 :] < got[piece + 2 :] - 0.1).any()  # whose floor knows nothing of what comes


def listened(model: Whisper, samples: Tensor, sizes: Sequence[int]) -> Tensor:
    """Encoder frames [t, d] of samples that come in pieces of such sizes, again and again, without the stream's end."""
    pipeline, frames = model.pipeline(), []
    phase = phase_for(pipeline)
    opening = (30 - pipeline.first(phase)) * pipeline.down
    driver = Driver(pipeline, 4800, phase=phase, opening=opening, outputs=(40,))
    for size in cycle(sizes):
        frames.append(driver.push(samples[:size]))
        samples = samples[size:]
        if not len(samples):
            return torch.cat(frames)
    raise AssertionError("cycles do not end")


def test_features_and_encoder_from_samples(model: Whisper, golden: dict[str, Tensor], samples: Tensor) -> None:
    mel = model.pipeline().get_submodule("mel")
    assert isinstance(mel, PieceMel) and mel.frames == 30
    features = mel(Frames.whole(samples[None])).data[0, :782]  # what is behind that, the original leaves out
    torch.testing.assert_close(features, golden["mel_stream"].T, atol=1e-4, rtol=0)
    torch.testing.assert_close(listened(model, samples, [4800]), golden["enc_stream"], atol=2e-4, rtol=0)


@pytest.mark.parametrize(("mode", "beam", "sizes"), [("greedy_ca", 0, [1234, 77, 9000]), ("beam5_ca", 5, [125280])])
def test_golden_chunks(
    model: Whisper, golden: dict[str, Tensor], samples: Tensor, mode: str, beam: int, sizes: list[int]
) -> None:
    """Ids after each chunk of 300 ms, from samples; and what our own rules promise on the same sound."""
    expected, frames = hypotheses(golden, mode), listened(model, samples, sizes)
    told = heard_by(Search(model.decoder, SYMBOLS, Request(beam=beam, compatible=True)), frames, SIZES)
    assert expected == [[], *(list(h.ids) for h in told)]
    assert all(h.stable == 0 for h in told)
    own = heard_by(Search(model.decoder, SYMBOLS, Request(beam=beam)), frames, SIZES)
    for now, later in pairwise(own):
        assert now.ids[: now.stable] == later.ids[: now.stable]
        assert now.stable <= later.stable
    assert own[-1].stable > 10
    assert own[-1].frames[:2] == (29, 29)
    assert list(own[-1].frames) == sorted(own[-1].frames)


@pytest.mark.parametrize(("renew", "equal", "ids"), [(0, 18, 120), (16, 24, 25), (24, 25, 25), (None, 25, 25)])
def test_what_the_ids_that_are_fed_again_are_worth(
    model: Whisper, golden: dict[str, Tensor], samples: Tensor, renew: int | None, equal: int, ids: int
) -> None:
    """Hypotheses that equal the published ones, whose code feeds all ids again, and the length of the last."""
    search = Search(model.decoder, SYMBOLS, Request(renew=renew))
    told = [[], *(list(h.ids) for h in heard_by(search, listened(model, samples, [4800]), SIZES))]
    expected = hypotheses(golden, "greedy_ca")
    assert (sum(map(list.__eq__, told, expected)), len(told[-1])) == (equal, ids)
