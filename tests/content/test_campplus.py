"""The speaker encoder on recordings of all kinds, and in training."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from speech.content.campplus import CAMPPlus, CAMPPlusConfig, MaskedTDNN, pooled
from speech.errors import SpeechError
from speech.streaming.frames import Frames
from tests.content.small import CAM, noise, speaker_encoder


def test_a_padded_batch_equals_single_recordings() -> None:
    model, clips = speaker_encoder(), [noise(seconds, seed) for seed, seconds in enumerate((1.3, 0.06, 0.7, 2.1))]
    batch = pad_sequence(clips, batch_first=True, padding_value=float("nan"))
    with torch.inference_mode():
        got = model(Frames.whole(batch, torch.tensor([len(clip) for clip in clips])))
        alone = torch.cat([model(Frames.whole(clip[None])) for clip in clips])
    assert got.shape == (4, 192)
    torch.testing.assert_close(got, alone, atol=1e-4 * float(alone.std()), rtol=1e-4)


def test_the_mask_sees_means_of_the_whole_and_of_segments() -> None:
    torch.manual_seed(0)
    layer, x = MaskedTDNN(6, 3, 1, segment=10), torch.randn(2, 6, 27)
    segments = torch.cat([part.mean(2, keepdim=True).expand_as(part) for part in x.split(10, 2)], 2)
    mask = layer.excite(layer.squeeze(x.mean(2, keepdim=True) + segments).relu()).sigmoid()
    torch.testing.assert_close(layer(x, torch.ones(2, 1, 27)), layer.local(x) * mask)


def test_pooling_is_mean_and_unbiased_deviation() -> None:
    torch.manual_seed(0)
    x, valid = torch.randn(2, 4, 9), torch.ones(2, 1, 9)
    valid[1, :, 5:] = 0
    torch.testing.assert_close(pooled(x, valid)[0], torch.cat([x[0].mean(1), x[0].std(1)]))
    torch.testing.assert_close(pooled(x, valid)[1], torch.cat([x[1, :, :5].mean(1), x[1, :, :5].std(1)]))


def test_the_level_of_a_recording_does_not_matter() -> None:
    model, x = speaker_encoder(), noise(1)
    torch.testing.assert_close(model.embed(x), model.embed(0.25 * x), atol=1e-3, rtol=1e-3)


def test_training_reaches_every_weight_though_a_channel_is_dead() -> None:
    torch.manual_seed(0)
    model = CAMPPlus(CAM).train()
    with torch.no_grad():
        model.out_norm.bias.fill_(-100.0)  # behind the ReLU nothing is left: deviations are 0
        model.out_norm.bias[0] = 1.0
    x = torch.stack([noise(0.6, seed) for seed in range(4)])
    model(Frames.whole(x)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (noise(0.1), r"at least 0\.5 s, got 0\.10 s"),
        (torch.zeros(16000), "got silence"),
        (1e-4 * noise(1), "got silence"),
        (torch.full((16000,), float("nan")), "NaN or infinity"),
        (torch.zeros(2, 16000), r"mono floating samples \[n\].*got float32 \[2, 16000\]"),
        (torch.ones(16000, dtype=torch.int16), "divide integers"),
    ],
)
def test_what_is_no_reference(samples: torch.Tensor, message: str) -> None:
    with pytest.raises(SpeechError, match=message):
        speaker_encoder().embed(samples)


def test_blocks_that_do_not_fit() -> None:
    with pytest.raises(SpeechError, match="one dilation a block"):
        CAMPPlusConfig(layers=(2, 2))
