"""What is matched of a target: the height of the voice, and the mean and deviation of every band."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from speech.audio.file import Audio
from speech.audio.mel import LogMel
from speech.content.encoder import TUNE
from speech.errors import SpeechError
from speech.streaming.arena import Arena
from speech.streaming.frames import Frames
from speech.vc.matching import STEEPEST, Colour, MatchConfig, TuneMatch, measured
from speech.vc.model import ConverterModelConfig
from speech.vc.timbre import Match
from speech.vc.voice import take_up
from tests.sounds import said
from tests.vc.small import MEL, small_converter, small_model, voice

FRAME = 0.04


def content(f0: float, frames: int, voiced: float = 1.0) -> torch.Tensor:
    """What is said at one height: [1, t, 2 phones + 3]."""
    return torch.tensor([0.3, 0.7, f0 * voiced, voiced, -1.0]).expand(1, frames, 5).clone()


def matched(strength: float, target: float, said: torch.Tensor) -> torch.Tensor:
    """f0 of what is said after matching: [t]."""
    module = TuneMatch(MatchConfig(strength, memory=1e6, prior=1e-6), FRAME)
    arena = Arena(module, 1)
    arena.open()
    arena.state["target"][0] = target
    out = module.step(Frames.whole(said), arena.state, torch.tensor([0])).data[0]
    assert torch.equal(out[:, :-TUNE], said[0, :, :-TUNE]) and torch.equal(out[:, 1 - TUNE :], said[0, :, 1 - TUNE :])
    return out[:, -TUNE]


def test_the_mean_of_the_tune_becomes_the_targets() -> None:
    assert torch.allclose(matched(1.0, 0.5, content(-0.8, 50)), torch.full((50,), 0.5), atol=1e-4)
    assert torch.allclose(matched(0.0, 0.5, content(-0.8, 50)), torch.full((50,), -0.8))
    further = matched(1.5, 0.5, content(-0.8, 50))
    assert torch.allclose(further, torch.full((50,), -0.8 + 1.5 * 1.3), atol=1e-4)


def test_what_has_no_voice_is_neither_heard_nor_moved() -> None:
    silent = torch.cat([content(0.0, 40, voiced=0.0), content(-0.8, 10)], 1)
    out = matched(1.0, 0.5, silent)
    assert torch.equal(out[:40], torch.zeros(40)) and torch.allclose(out[40:], torch.full((10,), 0.5), atol=1e-4)


def test_a_new_speaker_takes_the_place_of_the_old_one_in_the_mean() -> None:
    module = TuneMatch(MatchConfig(1.0, memory=2.0, prior=1e-6), FRAME)
    both = torch.cat([content(-0.8, 250), content(0.6, 250)], 1)
    moved = module(Frames.whole(both)).data[0, :, -TUNE]
    assert moved[249].abs() < 0.01 and moved[251] > 1.2 and moved[-1].abs() < 0.02


def test_the_tune_moves_within_its_mean() -> None:
    """Only the mean is taken out: what rises and falls comes through."""
    f0 = 0.3 * torch.sin(torch.arange(500) / 9) - 0.8
    said = content(1.0, 500)
    said[0, :, -TUNE] = f0
    out = matched(1.0, 0.0, said)
    assert np.corrcoef(out[250:], f0[250:])[0, 1] > 0.99 and out[250:].mean().abs() < 0.05


def test_the_colour_is_measured_and_undone() -> None:
    """Own words come out with the mean and the deviation of the recordings, band by band."""
    model = small_model()
    network = model.network
    with torch.inference_mode():
        mel = LogMel(model.config.mel)(Frames.whole(torch.from_numpy(said(3.0))[None])).data[0]
        heard = model.contents(network.config.chunk)(Frames.whole(torch.from_numpy(said(3.0))[None])).data[0]
        target = network.target(torch.randn(1, 6), mel[None])
        conditions = network.conditioned(network.lead()(Frames.whole(heard[None])).data, target)
        made = network.solver()(Frames.whole(conditions)).data[0]
    mel = mel[: len(made)]
    match = measured([heard], [mel], network, network.solver(), target)
    level = mel.mean(1)
    loud = level > (level.min() + level.max()) / 2
    true, own = mel[loud], made[loud]
    assert 0.2 < loud.float().mean() < 0.9
    coloured = match.gain * own + match.offset
    assert torch.allclose(coloured.mean(0), true.mean(0), atol=1e-4)
    free = (match.gain > 1 / STEEPEST) & (match.gain < STEEPEST)
    assert torch.allclose(coloured.std(0)[free], true.std(0)[free], atol=1e-4)
    assert ((match.gain - true.std(0) / own.std(0)).abs() < 1e-4).eq(free).all()
    assert torch.isclose(match.tune, heard[:, -TUNE].sum() / heard[:, 1 - TUNE].sum())


def test_it_is_heard_from_the_step_on_in_which_the_target_changes() -> None:
    """Two targets that differ in what is matched alone."""
    converter = small_converter()
    anna = converter._voices["anna"]
    assert anna.match is not None
    other = anna.match._replace(offset=anna.match.offset + 1)
    converter._voices.keep("ben", type(anna)(anna.speaker, anna.mel, other))
    x = voice(0.8)
    first, second = (converter.convert(x, name, 16000).samples for name in ("anna", "ben"))
    assert np.abs(first - second).max() > 1e-2
    with converter.stream(16000, "anna") as stream:
        made = stream.push(x[: 5 * stream.chunk])
        stream.target = "ben"
        made = np.concatenate([made, stream.push(x[5 * stream.chunk :]), stream.flush()])[stream.delay :]
    same = np.abs(made - first) < 1e-5
    assert same[: 2 * stream.chunk].all() and not same[5 * stream.chunk :].all()


def test_targets_are_measured_when_they_are_taken_up() -> None:
    model = small_model()
    match = take_up([Audio(said(2.0), 16000), Audio(said(1.5, 22050, 6.0), 22050)], model).match
    assert isinstance(match, Match) and match.gain.shape == match.offset.shape == (MEL,)
    assert all(x.isfinite().all() for x in match) and not torch.allclose(match.gain, torch.ones(MEL), atol=1e-2)
    assert take_up([Audio(said(2.0), 16000)], small_model(second=True)).match is None


def test_a_click_does_not_decide_which_frames_count() -> None:
    """A recording is measured alike with a click in it that is as loud as can be."""
    model, quiet = small_model(), 0.01 * said(3.0)
    clicked = quiet.copy()
    clicked[24000] = 1.0
    plain, other = (take_up([Audio(x, 16000)], model).match for x in (quiet, clicked))
    assert plain is not None and other is not None
    assert (plain.offset - other.offset).abs().max() < 0.5 and (plain.gain - other.gain).abs().max() < 0.3


def test_nothing_changes_the_colour_before_a_target_is_there() -> None:
    x = torch.randn(2, 7, 5)
    assert torch.equal(Colour(5)(Frames.whole(x)).data, x)
    module = Colour(5)
    arena = Arena(module, 1)
    assert torch.equal(module.step(Frames.whole(x[:1]), arena.state, torch.tensor([arena.open()])).data, x[:1])


def test_what_cannot_be_matched() -> None:
    with pytest.raises(SpeechError, match="expected content of the form said for matching, got embedding"):
        ConverterModelConfig(matching=MatchConfig())
    for bad in ({"prior": 0.0}, {"memory": -1.0}):
        with pytest.raises(SpeechError, match="a memory and a prior of more than 0 s"):
            MatchConfig(**bad)
