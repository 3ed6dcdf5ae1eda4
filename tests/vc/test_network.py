"""The converter's network: targets and their change, training beside streaming, configurations that cannot be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.flow.solver import Sampling, noise_at
from speech.hub.schema import from_tree, to_tree
from speech.kernels.linear import pack
from speech.streaming.arena import Arena
from speech.streaming.driver import Driver
from speech.streaming.frames import Frames
from speech.vc.network import ConverterConfig, ConverterNetwork
from speech.vc.timbre import Target
from speech.vc.training import converter_loss, worn
from tests.streaming.cases_vc import FIRST, SECOND

ONE_STEP = Sampling(1, 0.0, True)
CONFIGS = pytest.mark.parametrize("config", [FIRST, SECOND], ids=["history", "ahead"])


def made(config: ConverterConfig) -> ConverterNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ConverterNetwork(config).eval()


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def target(network: ConverterNetwork, seed: int, frames: int = 7) -> Target:
    return network.target(drawn(1, 3, seed=seed), drawn(1, frames, 5, seed=seed + 1))


def speak(driver: Driver, target: Target) -> None:
    """Let a stream of a network's pipeline go on in this voice."""
    target.write(driver.seat.lane.arena.state["timbre"], driver.seat.slot)


@CONFIGS
@torch.inference_mode()
def test_the_voice_changes_within_a_stream(config: ConverterConfig) -> None:
    """What was put out stays, and what comes goes on from it: as if the conditions alone had changed."""
    network, content = made(config), drawn(18, config.content)
    voices = [target(network, 1), target(network, 5, frames=4)]
    driver = Driver(network.pipeline(9), config.chunk // config.rate, shape=(config.content,))
    mel = []
    for voice, part in zip(voices, (content[:9], content[9:]), strict=True):
        speak(driver, voice)
        mel.append(driver.push(part))
    mel.append(driver.flush())

    at_rate = driver.module.get_submodule("interpolate")(Frames.whole(content[None])).data
    begin = sum(map(len, mel[:1])) + max(config.ahead)  # the first conditions of the first step of the second voice
    both = [network.conditioned(at_rate, voice) for voice in voices]
    conditions = torch.cat([both[0][:, :begin], both[1][:, begin:]], 1)
    wanted = network.solver()(Frames.whole(conditions)).data[0]
    torch.testing.assert_close(torch.cat(mel), wanted, atol=1e-5, rtol=0)


@CONFIGS
def test_the_steps_change_within_a_stream(config: ConverterConfig) -> None:
    network = made(config)
    few, many = network.pipeline(9), network.pipeline(9, Sampling(3, 0.0, True))
    assert Arena(few, 1).fingerprint == Arena(many, 1).fingerprint


@CONFIGS
@torch.inference_mode()
def test_streams_of_a_batch_have_targets_of_their_own(config: ConverterConfig) -> None:
    """Of unequal length, taken up over others that were not finite."""
    network, content = made(config), drawn(3, 2 * config.chunk, config.content)
    voices = [target(network, 1), target(network, 5, frames=4), target(network, 9, frames=9)]
    stage = network.pipeline(9).get_submodule("timbre")
    state = Arena(stage, 4).state  # type: ignore[arg-type]
    bad = network.target(torch.full((1, 3), torch.nan), torch.full((1, 9, 5), torch.inf))
    bad.write(state, torch.arange(4))
    slots = torch.tensor([2, 0, 3])
    for slot, voice in zip(slots.tolist(), voices, strict=True):
        voice.write(state, slot)
    heard = stage.step(Frames.whole(content), state, slots).data  # type: ignore[operator]
    for row, voice in enumerate(voices):
        torch.testing.assert_close(heard[row : row + 1], network.conditioned(content[row : row + 1], voice))


@torch.inference_mode()
def test_rows_have_targets_of_their_own() -> None:
    network, content = made(FIRST), drawn(2, 6, FIRST.content)
    speakers, prompts = drawn(2, 3, seed=1), drawn(2, 7, 5, seed=2)
    prompts[1, 4:] = 99.0
    both = network.conditioned(content, network.target(speakers, prompts, torch.tensor([7, 4])))
    for row, length in ((0, 7), (1, 4)):
        own = network.target(speakers[row : row + 1], prompts[row : row + 1, :length])
        torch.testing.assert_close(both[row : row + 1], network.conditioned(content[row : row + 1], own))


@CONFIGS
@torch.inference_mode()
def test_training_sees_what_a_stream_sees(config: ConverterConfig) -> None:
    """In one step from noise, with the stream's own output for its history, training's network gives that output."""
    network, lengths = made(config), torch.tensor([21, 13])
    conditions = drawn(2, 21, config.content + config.speaker)
    put_out = network.solver(ONE_STEP)(Frames.whole(conditions, lengths)).data
    noise, ones = network.noise[:21].expand(2, -1, -1), torch.ones(2)
    valid = torch.arange(21) < lengths[:, None]

    def again(**settings: Any) -> Tensor:
        return noise - network(noise, ones, 0 * ones, conditions, lengths, put_out, **settings)

    torch.testing.assert_close(again()[valid], put_out[valid], atol=1e-5, rtol=0)
    if config.history:
        apart = (again(alone=True) - put_out).abs().amax(-1)[0]
        assert apart[: 2 * config.chunk].max() < 1e-5 < apart[2 * config.chunk :].max()


@CONFIGS
def test_the_loss_reaches_every_weight(config: ConverterConfig) -> None:
    network, mel, lengths = made(config), drawn(3, 12, config.mel), torch.tensor([12, 12, 7])
    heard = network.target(drawn(3, 3, seed=1), drawn(3, 7, 5, seed=2))
    conditions = network.conditioned(drawn(3, 12, config.content), heard)
    times = torch.tensor([0.9, 0.7, 0.4]), torch.tensor([0.2, 0.7, 0.1])
    noise, clean = drawn(3, 12, config.mel, seed=3), worn(mel, 0.3)
    converter_loss(network, mel, conditions, lengths, noise, *times, clean=clean).loss.backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not silent


def test_worn_frames_differ_by_row_and_not_by_more_than_asked() -> None:
    mel = drawn(40, 50, 4)
    off = (worn(mel, 0.5, torch.Generator().manual_seed(0)) - mel).std((1, 2))
    assert 0.0 < off.min() < 0.1 and 0.4 < off.max() < 0.6
    assert torch.equal(worn(mel, 0.0), mel)


@torch.inference_mode()
@CONFIGS
@torch.inference_mode()
def test_start_noise_does_not_come_again(config: ConverterConfig) -> None:
    """Not before it went round once for every channel; and a stream that outlives it is still equal to the whole."""
    network, content = made(config), drawn(40, config.content)
    solver = network.solver(noise=network.noise[:7])
    frames = 7 * config.mel
    rows = noise_at(solver.noise, torch.arange(2 * frames)[None])[0]
    assert len(rows[:frames].unique(dim=0)) == frames and torch.equal(rows[:frames], rows[frames:])
    assert torch.equal(rows[:7], network.noise[:7])
    pipeline = network.pipeline(noise=network.noise[:7])
    driver = Driver(pipeline, config.chunk // config.rate, shape=(config.content,))
    mel = torch.cat([driver.push(content), driver.flush()])
    torch.testing.assert_close(mel, pipeline(Frames.whole(content[None])).data[0], atol=1e-5, rtol=0)


def test_another_chunk_size_is_the_same_network() -> None:
    network = made(SECOND)
    other = network.at(12)
    assert other.config.chunk == other.solver().grain == 12 and network.at(6) is network
    pairs = zip(network.parameters(), other.parameters(), strict=True)
    assert all(a is b for a, b in pairs) and other.noise is network.noise


def converted(network: ConverterNetwork, content: Tensor) -> Tensor:
    """Content [1, t, content] of whole signals to mel frames."""
    at_rate = network.lead()(Frames.whole(content))
    return network.solver()(at_rate.like(network.conditioned(at_rate.data, target(network, 1)))).data


@torch.inference_mode()
def test_packed_weights_give_the_same() -> None:
    network, content = made(FIRST), drawn(1, 8, FIRST.content)
    before = converted(network, content)
    pack(network)
    torch.testing.assert_close(converted(network, content), before, atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", [ConverterConfig(), ConverterConfig.second(), FIRST])
def test_configurations_go_through_yaml(config: ConverterConfig) -> None:
    assert from_tree(ConverterConfig, to_tree(config), "config") == config


def test_what_cannot_be_is_said() -> None:
    network = made(FIRST)
    with pytest.raises(SpeechError, match="mel frames of a reference"):
        network.target(drawn(1, 3))
    with pytest.raises(SpeechError, match="without guidance"):
        network.solver(Sampling(1, 0.7, True))
    with pytest.raises(SpeechError, match="mean flows"):
        network.solver(Sampling(1, 0.0))
    with pytest.raises(SpeechError, match="multiple of 2"):
        network.at(5)
    with pytest.raises(SpeechError, match="for each of 2 layers"):
        replace(FIRST, past=(1, 2, 3))
    with pytest.raises(ValueError, match="clean frames"):
        network(*(drawn(1, 4, 5), *torch.ones(2, 1), drawn(1, 4, 9), torch.tensor([4])))
