"""The content encoder: live equal to whole, codes and embeddings of one mind, and able to learn."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import ctc_loss

from speech.content.encoder import ContentConfig, ContentEncoder
from speech.errors import SpeechError
from speech.hub.schema import from_tree, to_tree
from speech.streaming.driver import Driver
from speech.streaming.frames import Frames
from speech.streaming.timing import Timing
from tests.content.small import CONTENT, content_encoder, noise


@pytest.mark.parametrize("content", ["features", "embedding", "codes", "scores"])
def test_live_content_equals_the_whole(content: str) -> None:
    model, x = content_encoder(), noise(2.03)
    pipeline = model.pipeline(content)  # type: ignore[arg-type]
    driver = Driver(pipeline, pipeline.grain)
    live = torch.cat([*(driver.push(part) for part in x.split(1777)), driver.flush()])
    with torch.inference_mode():
        whole = model(Frames.whole(x[None]), content).data[0]  # type: ignore[arg-type]
    assert live.dtype == whole.dtype and len(live) == len(whole) == 51
    torch.testing.assert_close(live, whole, atol=1e-5, rtol=1e-5)


def test_codes_stand_for_the_embeddings() -> None:
    model, x = content_encoder(), Frames.whole(noise(2)[None])
    assert model.bottleneck is not None
    with torch.inference_mode():
        codes, embedding = model(x, "codes").data, model(x, "embedding").data
        torch.testing.assert_close(model.bottleneck.decode(codes), embedding)
    assert len(codes.unique()) > 5


def test_it_learns_by_ctc_through_the_bottleneck() -> None:
    """Four sequences of tones, a token each: the loss falls far below the 2.2 of one that does not listen."""
    torch.manual_seed(0)
    model = ContentEncoder(replace(CONTENT, dim=32, layers=1, levels=(5, 5, 5, 5, 5))).train()
    targets = torch.tensor([[0, 1, 2], [3, 4, 5], [5, 0, 3], [2, 4, 1]])
    pitch = 400.0 * (targets + 1).repeat_interleave(4800, 1)
    samples = 0.3 * (2 * torch.pi * pitch.cumsum(1) / 16000).sin() + 0.01 * torch.randn(pitch.shape)
    mel, learner = model.mel(Frames.whole(samples)), model.from_mel("scores")
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(90):
        scores = learner(mel)
        loss = ctc_loss(scores.data.transpose(0, 1), targets, scores.lengths, torch.tensor([3] * 4), blank=6)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_default_is_small_and_does_not_look_ahead() -> None:
    model = ContentEncoder(ContentConfig(vocabulary=40))
    assert sum(p.numel() for p in model.parameters()) <= 4_000_000
    timing = Timing.of(model.pipeline("codes"), 16000)
    assert timing.hop == model.config.frame == 0.04 and timing.chunk_ms == 40.0
    assert timing.look_ahead_ms < 12.5  # half a window of the front end


def test_look_ahead_is_what_the_configuration_says() -> None:
    for ahead in (0, 1, 4):
        timing = Timing.of(ContentEncoder(replace(CONTENT, look_ahead=ahead)).pipeline("features"), 16000)
        assert timing.chunk_ms == 40 * (ahead + 1) and 40 * ahead <= timing.look_ahead_ms < 40 * ahead + 12.5


def test_configuration_survives_a_checkpoint() -> None:
    assert from_tree(ContentConfig, to_tree(CONTENT), "content") == CONTENT


def test_half_precision_keeps_its_front_end() -> None:
    model = content_encoder()
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    with torch.inference_mode():
        assert model(Frames.whole(noise(0.5)[None])).data.dtype == torch.bfloat16
        assert model.mel.window.dtype == torch.float32


def test_what_an_encoder_does_not_have() -> None:
    plain = ContentEncoder(replace(CONTENT, levels=(), vocabulary=0)).eval()
    x = Frames.whole(noise(0.5)[None])
    assert torch.equal(plain(x, "embedding").data, plain(x, "features").data)
    with pytest.raises(SpeechError, match="set levels"):
        plain(x, "codes")
    with pytest.raises(SpeechError, match="set vocabulary"):
        plain(x, "scores")


@pytest.mark.parametrize("sizes", [{"look_ahead": 2}, {"left": -1}, {"levels": (2, 5)}])
def test_sizes_that_cannot_be_run(sizes: dict[str, object]) -> None:
    with pytest.raises(SpeechError, match="expected"):
        replace(CONTENT, **sizes)  # type: ignore[arg-type]


def test_a_recording_is_encoded_at_any_rate() -> None:
    torch.manual_seed(0)
    encoder = ContentEncoder(ContentConfig(dim=16, layers=1, heads=2, levels=(3, 3, 3), head_layers=0)).eval()
    samples = 0.1 * torch.randn(16000)
    codes = encoder.encode(samples)
    assert codes.dtype == torch.int64 and len(codes) == 25 and int(codes.max()) < 27
    assert len(encoder.encode(0.1 * torch.randn(24000), 24000)) == 25
    with pytest.raises(SpeechError, match=r"at least 0\.04 s"):
        encoder.encode(samples[:100])
