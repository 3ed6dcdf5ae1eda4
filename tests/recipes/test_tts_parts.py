"""Data and losses of content encoder, speaker encoder and flow in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lhotse", reason="the training extra is not installed")
pytest.importorskip("lightning", reason="the training extra is not installed")

import torch
from lhotse import MonoCut, Recording, SupervisionSegment

from recipes.common.cache import AudioCache
from recipes.tts_small.content_training import CLASSES, ContentOptimConfig, ContentStretches, ContentTraining
from recipes.tts_small.flow_training import FlowBatch, FlowOptimConfig, FlowStretches, FlowTraining, draw_times
from recipes.tts_small.listening import UNHEARD, ListenConfig, Translation, heard_as, listener
from recipes.tts_small.pools import Pool, StretchConfig
from recipes.tts_small.speaker_training import SpeakerOptimConfig, SpeakerStretches, SpeakerTraining
from recipes.tts_small.tracks import PHONES, Phones
from speech.audio.mel import LogMel, MelConfig
from speech.content.campplus import CAMPPlus, CAMPPlusConfig
from speech.content.encoder import ContentConfig, ContentEncoder
from speech.errors import SpeechError
from speech.flow.dit import DiTConfig
from speech.flow.encoder import EncoderConfig
from speech.flow.layers import Context
from speech.flow.model import Flow, FlowConfig
from speech.flow.objectives import flow_matching_loss
from speech.flow.solver import Sampling
from speech.streaming.frames import Frames
from speech.tts.text.inventory import ids

FRAMES = 100
FEATURES = 16
FLOW = FlowConfig(
    25,
    8,
    EncoderConfig(dim=8, look_ahead=1, ahead_hidden=8, layers=1, up_layers=1, heads=2, ff_hidden=8, rate=4),
    DiTConfig(FEATURES, dim=16, layers=1, heads=2, head_dim=8, position_conv=2, interval=True, rate=4),
    Context(2, 4),
)


@pytest.fixture
def pools(tmp_path: Path) -> list[Pool]:
    """Eight utterances of a second by two speakers, of 100 and 200 Hz; codes and phones tell where a frame lies."""
    audio, cuts, f0, phones, codes = AudioCache(tmp_path, "pool"), [], {}, {}, {}
    t = np.arange(FRAMES * 160) / 16000
    loud = 8000 * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * t))  # what never changes is centred away
    signals = [loud * np.sin(2 * np.pi * (100 if i % 2 else 200) * t) for i in range(8)]
    np.concatenate(signals).astype(np.int16).tofile(audio.pcm)
    for i in range(8):
        name = f"u{i}"
        said = SupervisionSegment(name, name, 0.0, 1.0, speaker="low" if i % 2 else "high")
        recording = Recording(name, [], 16000, len(t), 1.0)
        cut = MonoCut(name, 0.0, 1.0, 0, supervisions=[said], recording=recording)
        cut.custom = {"offset": i * len(t), "samples": len(t)}
        cuts.append(cut)
        f0[name] = np.full(FRAMES, (100 if i % 2 else 200), np.float16) * (1 + 0.1 * np.sin(np.arange(FRAMES)))
        phones[name] = Phones(np.array([0, 1, 2]), np.array([20, 30, 50]), np.array([-1, 0, 0]))
        codes[name] = np.arange(FRAMES // 4, dtype=np.uint16)
    return [Pool(audio, cuts, f0, 1.0, phones, codes)]


def test_content_targets_lie_where_the_phones_do_and_f0_forgets_the_speaker(pools: list[Pool]) -> None:
    data = ContentStretches(pools, StretchConfig(size=8, frames=60), 1, augment=False)
    batch = data[0]
    assert batch.phones.shape == batch.f0.shape == (8, 60)
    starts = [int((row == CLASSES.index("SIL")).sum()) for row in batch.phones]
    for row, silent in zip(batch.phones, starts, strict=True):
        if silent:  # the stretch began at frame 20 - silent
            assert (row[silent : silent + 30] == 1).all() and (row[silent + 30 :] == 2).all()
    assert batch.voiced.min() == 1
    assert abs(float(batch.f0.mean())) < 0.2 and 0.7 < float(batch.f0.std()) < 1.3
    assert PHONES[0] == CLASSES[0] == "SIL"


def test_content_learns_and_its_tune_has_a_gradient_through_the_codes(pools: list[Pool]) -> None:
    torch.manual_seed(0)
    config = ContentConfig(
        MelConfig(features=FEATURES), dim=16, layers=1, heads=2, levels=(5, 5), left=4, vocabulary=len(CLASSES)
    )
    module = ContentTraining(ContentEncoder(config), ContentOptimConfig())
    batch = ContentStretches(pools, StretchConfig(size=4, frames=60), 1, augment=True)[0]
    optimizer, first = torch.optim.Adam(module.parameters(), 1e-2), 0.0
    for _ in range(12):
        losses = module.losses(batch)
        loss = losses["phones"] + losses["f0"] + losses["voicing"] + losses["level"]
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.8 * first
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


def test_speakers_are_told_apart(pools: list[Pool]) -> None:
    torch.manual_seed(0)
    model = CAMPPlus(CAMPPlusConfig(dim=8, front_channels=2, channels=8, growth=4, bottleneck=2, layers=(1, 1, 1)))
    module = SpeakerTraining(model, SpeakerOptimConfig(), 2)
    config = StretchConfig(size=8, frames=60)
    data = SpeakerStretches(pools, config, 1, augment=True, numbers={"low": 0, "high": 1})
    batch = data[0]
    assert set(batch.speakers.tolist()) == {0, 1}
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(20):
        cosines = module.cosines(batch)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(30 * cosines, batch.speakers).backward()
        optimizer.step()
    assert (cosines.argmax(1) == batch.speakers).float().mean() > 0.9
    with pytest.raises(SpeechError, match="found none"):
        SpeakerStretches(pools, config, 1, augment=True, numbers={})


def flow_training(sampling: Sampling, flow: FlowConfig = FLOW) -> FlowTraining:
    torch.manual_seed(0)
    mel = LogMel(MelConfig(features=FEATURES, window=400, lead=120, slope=0.25, offset=2.0))
    return FlowTraining(Flow(replace(flow, sampling=sampling)), mel, FlowOptimConfig(), 4)


def flow_batch(pools: list[Pool], flow: FlowConfig = FLOW, unlabelled: float = 0.0, wrong: float = 0.0) -> FlowBatch:
    vectors = {"low": torch.randn(8), "high": torch.randn(8)}
    config = StretchConfig(size=4, frames=40, margin=4)
    options = {"vectors": vectors, "flow": flow, "unlabelled": unlabelled, "wrong": wrong}
    return FlowStretches(pools, config, 1, augment=False, **options)[0]


def test_codes_belong_to_their_mel_frames(pools: list[Pool]) -> None:
    batch, module = flow_batch(pools), flow_training(Sampling(2, 0.0, mean=True))
    assert (batch.tokens.diff(dim=1) == 1).all() and batch.tokens.min() >= 1
    assert module.features(batch).shape == (4, 40, FEATURES)
    with pytest.raises(SpeechError, match="multiples of 4"):
        FlowStretches(
            pools, StretchConfig(frames=41), 1, augment=False, vectors={}, flow=FLOW, unlabelled=0.0, wrong=0.0
        )


def test_tokens_carry_symbols_where_they_are_known(pools: list[Pool]) -> None:
    symbols = {cut.id: np.full(FRAMES // 4, 2) for pool in pools for cut in pool.cuts}
    known, flow = [pool._replace(symbols=symbols) for pool in pools], replace(FLOW, symbols=3)
    codes = flow_batch(pools, flow).tokens
    assert (codes < flow.vocabulary).all()
    labelled = flow_batch(known, flow).tokens
    model = Flow(flow)
    assert labelled.tolist() == [[model.token(code, 2) for code in row] for row in codes.tolist()]
    assert (flow_batch(known, flow, unlabelled=1.0).tokens == codes).all()
    assert (flow_batch(known).tokens == codes).all()
    worn = flow_batch(known, flow, wrong=0.5).tokens
    assert (worn // flow.vocabulary == 3).all() and 0.1 < (worn != labelled).float().mean() < 0.6
    assert (flow_batch(pools, flow, wrong=0.5).tokens == codes).all()


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("context", range(4))
def test_either_objective_learns_in_every_context(pools: list[Pool], mean: bool, context: int) -> None:
    batch, module = flow_batch(pools), flow_training(Sampling(2, 0.0, mean=mean))
    optimizer, first, mel = torch.optim.Adam(module.parameters(), 1e-2), 0.0, module.features(batch)
    for _ in range(8):
        generator = torch.Generator().manual_seed(3)
        losses = module.losses(batch, mel, module.contexts[context], generator, averaged=2 if mean else 0)
        loss = losses["velocity"] + losses["prior"]
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.9 * first
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.model.parameters())


def test_the_flow_is_listened_to_as_it_speaks(pools: list[Pool]) -> None:
    sampling = Sampling(2, 0.0, mean=True, temperature=0.5)
    batch, module = flow_batch(pools), flow_training(sampling, replace(FLOW, symbols=12))
    for parameter in module.model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    symbols = torch.arange(2, 12).expand(4, -1)
    batch, mel = batch._replace(tokens=batch.tokens + FLOW.vocabulary * (symbols + 1)), module.features(batch)
    config = ContentConfig(MelConfig(features=FEATURES), 8, 1, 2, levels=(), vocabulary=len(CLASSES))
    content = ContentEncoder(config).eval()
    for parameter in content.parameters():
        parameter.data *= 3 if parameter.dim() > 1 else 1  # so that it makes a difference what it hears
    heard = FlowTraining(module.model, module.mel, FlowOptimConfig(listen=ListenConfig(0.5)), 4, content)
    context, generator = heard.contexts[0], torch.Generator()
    assert "phones" not in module.losses(batch, mel, context, generator, averaged=0)
    told = []
    optimizer = torch.optim.Adam(heard.model.parameters(), 1e-2)
    for _ in range(30):
        loss = heard.losses(batch, mel, context, torch.Generator().manual_seed(1), averaged=0)["phones"]
        told.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert told[-1] < 0.9 * told[0]


def test_symbols_are_heard_a_little_later_and_borders_not_at_all() -> None:
    spoken = torch.tensor([[*ids(["T", "UW1", " ", "B", "."]), -1]])
    expected = [UNHEARD, *(CLASSES.index(p) for p in ("T", "UW")), UNHEARD, CLASSES.index("B"), CLASSES.index("SIL")]
    assert heard_as(spoken).tolist() == [expected]


def test_mel_frames_are_translated() -> None:
    samples = torch.randn(4, 16000) * (1 + torch.arange(16000) / 2000).sin()
    one, other = MelConfig(features=FEATURES, lead=120, slope=0.25), MelConfig(features=12, window=320)
    mel, wanted = (LogMel(config)(Frames.whole(samples)).data for config in (one, other))
    said = Translation(mel[:2], wanted[:2])(mel[2:])
    assert (said - wanted[2:]).square().mean() < 0.1 * wanted[2:].var()


def test_only_converters_that_know_phones_listen() -> None:
    assert listener("vc").config.vocabulary == len(CLASSES)
    with pytest.raises(SpeechError, match="to listen, asr is none"):
        listener("asr")


def test_an_instantaneous_velocity_is_that_of_the_mean_flow() -> None:
    """With intervals of no length both halves of the loss ask for noise - mel: a perfect network has no error."""
    mel, noise = torch.randn(2, 3, 5, FEATURES)
    t = torch.tensor([0.2, 0.5, 0.9])

    def network(x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        torch.testing.assert_close(x, (1 - at[:, None, None]) * mel + at[:, None, None] * noise, atol=1e-4, rtol=1e-4)
        return noise - mel

    valid = torch.ones(3, 5, dtype=torch.bool)
    assert flow_matching_loss(lambda x, s: -network(x, 1 - s), mel, noise, 1 - t, valid) < 1e-8


def test_times_come_near_pure_noise() -> None:
    t, r = draw_times(2000, 0.5, torch.Generator().manual_seed(0))
    assert (t >= r).all() and float((t > 0.95).float().mean()) > 0.03
