"""Log-mel features against the originals' numbers, against torch.stft, and chunk by chunk against the whole signal."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from speech.audio.filterbank import mel_bank
from speech.audio.mel import (
    COSYVOICE2_MEL,
    KALDI_FBANK,
    MEANVC_MEL,
    NEMO,
    S3_TOKENIZER,
    WENET_FBANK,
    WHISPER,
    WHISPER_STREAMING,
    LogMel,
    MelConfig,
)
from speech.errors import SpeechError
from speech.streaming.driver import Driver
from speech.streaming.frames import Frames

STREAMABLE = {
    "nemo": NEMO,
    "nemo_reflect": replace(NEMO, edges="reflect"),
    "whisper": WHISPER_STREAMING,
    "kaldi": KALDI_FBANK,
    "kaldi_hamming": replace(WENET_FBANK, shape="hamming"),
    "per_frame_reflect": replace(KALDI_FBANK, edges="reflect", shape="hamming"),
    "cosyvoice2": COSYVOICE2_MEL,
    "meanvc": MEANVC_MEL,
}


def features(config: MelConfig, x: np.ndarray | Tensor) -> Tensor:
    """Whole-signal features of one clip, [t, features]."""
    return LogMel(config)(Frames.whole(torch.as_tensor(x)[None])).data[0]


def clip(data, name: str) -> np.ndarray:
    return (data[name] / 32768).astype(np.float32)


def signal(n: int, seed: int = 0) -> Tensor:
    """Noise whose level wanders over six powers of ten."""
    generator = torch.Generator().manual_seed(seed)
    level = torch.linspace(0, 9, max(n, 1))[:n].sin().mul(3).sub(3)
    return torch.randn(n, generator=generator) * 0.2 * 10**level


# against the originals


@pytest.mark.parametrize("model", ["nemo_hybrid", "nemo_ctc", "nemo_rnnt"])
def test_nemo(shared: Path, model: str) -> None:
    data = np.load(shared / "fixtures" / model / "io.npz")
    x = clip(data, "audio_int16")
    ours, expected = features(NEMO, x), torch.from_numpy(data["mel"].T)
    assert len(ours) == len(x) // 160 == len(expected) - 1  # the last frame of the original is not valid
    torch.testing.assert_close(ours, expected[:-1], atol=2e-5, rtol=0)
    exact = LogMel(NEMO).double()(Frames.whole(torch.from_numpy(x).double()[None])).data[0]
    rounding = 3e-4  # the original's, where a band is nearly silent
    torch.testing.assert_close(exact.float(), expected[:-1], atol=rounding, rtol=0)


def test_whisper(shared: Path) -> None:
    data = np.load(shared / "fixtures/whisper_tiny/io.npz")
    x = clip(data, "audio_int16")
    torch.testing.assert_close(features(WHISPER, x), torch.from_numpy(data["logmel_nopad"].T), atol=1e-6, rtol=0)
    padded = np.pad(x, (0, 480000 - len(x)))
    torch.testing.assert_close(features(WHISPER, padded), torch.from_numpy(data["logmel"].T), atol=1e-6, rtol=0)


def test_causal_whisper(shared: Path) -> None:
    """The original raises its running maximum once a chunk, and starts the frames of its first chunk a sample early."""
    data = np.load(shared / "fixtures/careless_whisper_tiny/io.npz")
    ours = features(WHISPER_STREAMING, np.pad(clip(data, "audio_int16"), (0, 180)))
    loudest, start, compared = -math.inf, 0, 0
    for count in data["mel_frames_per_chunk"]:
        expected = torch.from_numpy(data["mel_stream"].T[start : start + count])
        if expected.max() <= loudest:
            torch.testing.assert_close(ours[start : start + count], expected, atol=1e-5, rtol=0)
            compared += count
        loudest, start = max(loudest, float(expected.max())), start + count
    assert compared > 500


def test_speech_tokenizer(shared: Path) -> None:
    data = np.load(shared / "fixtures/s3tokenizer_v2/io.npz")
    for audio, mel in (("audio0", "logmel0"), ("audio1", "logmel1")):
        expected = torch.from_numpy(data[mel].T)
        torch.testing.assert_close(features(S3_TOKENIZER, clip(data, audio)), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("model", "audio", "fbank", "config"),
    [
        ("campplus", "audio0", "fbank0", KALDI_FBANK),
        ("campplus", "audio1", "fbank1", KALDI_FBANK),
        ("u2pp_content_encoder", "audio", "fbank", WENET_FBANK),
    ],
)
def test_kaldi(shared: Path, model: str, audio: str, fbank: str, config: MelConfig) -> None:
    data = np.load(shared / "fixtures" / model / "io.npz")
    torch.testing.assert_close(features(config, clip(data, audio)), torch.from_numpy(data[fbank]), atol=1e-3, rtol=0)


# against their formulas, by torch.stft


def test_cosyvoice2_formula() -> None:
    x = signal(24000).double()
    padded = torch.nn.functional.pad(x[None], (720, 720), mode="reflect")
    window = torch.hann_window(1920, dtype=torch.float64)
    spectrum = torch.stft(padded, 1920, 480, 1920, window, center=False, return_complex=True)[0]
    magnitude = (spectrum.abs().square() + 1e-9).sqrt()
    expected = (mel_bank(24000, 1920, 80, 0, 8000).double() @ magnitude).clamp(min=1e-5).log().T
    torch.testing.assert_close(features(COSYVOICE2_MEL, x), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("n", [16000, 16111])
def test_meanvc_formula(n: int) -> None:
    x = signal(n).double()
    window = torch.hann_window(640, dtype=torch.float64)
    spectrum = torch.stft(x, 1024, 160, 640, window, center=True, pad_mode="reflect", return_complex=True)
    magnitude = mel_bank(16000, 1024, 80).double() @ (spectrum.abs().square() + 1e-6).sqrt()
    decibels = 20 * magnitude.clamp(min=10**-5.75).log10() - 20
    expected = (2 * (decibels + 115) / 115 - 1).clamp(-1, 1).T
    assert len(expected) == n // 160 + 1
    torch.testing.assert_close(features(MEANVC_MEL, x), expected, atol=1e-5, rtol=0)


def test_snipped_frames_lie_within_the_signal() -> None:
    for n, frames in ((0, 0), (399, 0), (400, 1), (559, 1), (560, 2)):
        assert LogMel(KALDI_FBANK).total(n) == frames
        assert features(KALDI_FBANK, signal(n)).shape == (frames, 80)


# the streaming contract


@pytest.mark.parametrize("name", STREAMABLE)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_chunks_equal_the_whole_signal(name: str, data: st.DataObject) -> None:
    module = LogMel(STREAMABLE[name]).eval()
    hop = module.down
    n = data.draw(st.one_of(st.integers(0, 3 * hop), st.integers(0, 20 * hop)), "samples")
    chunk = data.draw(st.sampled_from([hop, 2 * hop, 5 * hop]), "chunk")
    phase = data.draw(st.one_of(st.none(), st.integers(-2 * hop, 0)), "phase")
    x = signal(n)
    driver = Driver(module, chunk, phase=phase, dtype=torch.float32)
    cut = data.draw(st.integers(0, n), "cut")
    streamed = torch.cat([driver.push(x[:cut]), driver.push(x[cut:]), driver.flush()])
    expected = features(STREAMABLE[name], x)
    assert streamed.shape == expected.shape == (module.total(n), module.config.features)
    torch.testing.assert_close(streamed, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", STREAMABLE)
def test_look_ahead_is_what_a_frame_needs(name: str) -> None:
    """Later samples change nothing, the last one within the look-ahead does unless its weight is zero."""
    module = LogMel(STREAMABLE[name])
    hop, frame = module.down, 6
    x = signal(20 * hop)
    last = frame * hop + module.look_ahead
    after, before = x.clone(), x.clone()
    after[last + 1 :] = 0.5
    before[last - 1 :] = 0.5
    assert torch.equal(features(module.config, x)[: frame + 1], features(module.config, after)[: frame + 1])
    assert not torch.equal(features(module.config, x)[frame], features(module.config, before)[frame])


@pytest.mark.parametrize("config", [*STREAMABLE.values(), WHISPER], ids=[*STREAMABLE, "whisper_whole"])
def test_a_row_does_not_see_its_neighbour_or_its_padding(config: MelConfig) -> None:
    module = LogMel(config)
    a, b = signal(9 * module.down + 7, 1), signal(5 * module.down + 3, 2)
    batch = torch.full((2, len(a)), 0.9)
    batch[0], batch[1, : len(b)] = a, b
    out = module(Frames.whole(batch, torch.tensor([len(a), len(b)])))
    for row, x in enumerate((a, b)):
        torch.testing.assert_close(out.data[row, : out.lengths[row]], features(config, x), atol=2e-5, rtol=1e-5)


def test_whole_signal_peak_cannot_be_streamed() -> None:
    with pytest.raises(SpeechError, match="WHISPER_STREAMING"):
        LogMel(WHISPER).init_state(1)


# numbers


def test_float32_under_autocast_and_for_half_samples() -> None:
    x = signal(4000)
    with torch.autocast("cpu", torch.bfloat16):
        under = features(NEMO, x)
    assert under.dtype == torch.float32
    assert torch.equal(under, features(NEMO, x))
    assert features(NEMO, x.half()).dtype == torch.float32


@pytest.mark.parametrize("name", STREAMABLE)
def test_differentiable_even_for_silence(name: str) -> None:
    x = torch.cat([torch.zeros(4000), signal(4000)]).requires_grad_()
    features(STREAMABLE[name], x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad[4000:].abs().sum() > 0


def test_unfit_framing_is_refused() -> None:
    with pytest.raises(SpeechError, match="window <= n_fft"):
        MelConfig(n_fft=256)
    with pytest.raises(SpeechError, match="snip"):
        replace(KALDI_FBANK, last_frame=True)
