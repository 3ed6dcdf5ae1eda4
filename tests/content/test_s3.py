"""The speech tokenizer on recordings of all kinds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from speech.audio.resample import resample
from speech.content.s3 import FACTOR, OVERLAP, WINDOW, S3Config, in_windows
from speech.errors import SpeechError
from speech.streaming.frames import Frames
from tests.content.small import noise, tokenizer


def test_a_padded_batch_equals_single_recordings() -> None:
    model, clips = tokenizer(), [noise(seconds, seed) for seed, seconds in enumerate((1.3, 0.01, 0.7, 0.04))]
    batch = pad_sequence(clips, batch_first=True, padding_value=float("nan"))
    with torch.inference_mode():
        got = model(Frames.whole(batch, torch.tensor([len(clip) for clip in clips])))
        for row, clip, count in zip(got.data, clips, got.lengths.tolist(), strict=True):
            wanted = model(Frames.whole(clip[None])).data[0]
            assert count == len(wanted) == -(-(len(clip) // 160) // FACTOR)
            assert torch.equal(row[:count], wanted) and not row[count:].any()
        assert len(got.data[0].unique()) > 10


@settings(max_examples=25, deadline=None)
@given(count=st.one_of(st.integers(1, 2 * WINDOW), st.sampled_from([WINDOW + d for d in (-1, 0, 1, OVERLAP, 2601)])))
def test_windows_leave_no_gap(count: int) -> None:
    """By frames that name themselves: of every four one remains, in order, each from well inside its window."""
    seen = []

    def codes(mel: torch.Tensor) -> torch.Tensor:
        seen.append((int(mel[0, 0]), len(mel)))
        return mel[::FACTOR, 0]

    mel = torch.arange(count)[:, None]
    assert torch.equal(in_windows(mel, codes), mel[::FACTOR, 0])
    assert max(length for _, length in seen) <= WINDOW
    assert [start for start, _ in seen] == [i * (WINDOW - OVERLAP) for i in range(len(seen))]
    assert len(seen) == 1 or seen[-1][1] > OVERLAP


def test_a_long_recording_is_its_windows() -> None:
    model, x = tokenizer(), noise(34)
    mel = model.mel(Frames.whole(x[None])).data
    with torch.inference_mode():
        first, second = (model.codes(Frames.whole(part)).data[0] for part in (mel[:, :3000], mel[:, 2600:]))
    assert torch.equal(model.encode(x), torch.cat([first[:-50], second[50:]]))


def test_other_sample_rates_are_converted() -> None:
    model, x = tokenizer(), noise(1).numpy()
    other = resample(x, 16000, 48000)
    assert torch.equal(model.encode(other, 48000), model.encode(resample(other, 48000, 16000)))
    assert len(model.encode(other, 48000)) == len(model.encode(x)) == 25


def test_silence_has_codes() -> None:
    assert len(tokenizer().encode(torch.zeros(16000))) == 25


def test_less_than_one_code() -> None:
    with pytest.raises(SpeechError, match=r"at least 0\.04 s, got 0\.01 s"):
        tokenizer().encode(torch.zeros(160))


@pytest.mark.parametrize("sizes", [{"dim": 100, "heads": 1}, {"kernel": 4}, {"heads": 0, "dim": 0}])
def test_sizes_that_cannot_be_built(sizes: dict[str, int]) -> None:
    with pytest.raises(SpeechError, match="64 channels a head"):
        S3Config(**sizes)  # type: ignore[arg-type]
