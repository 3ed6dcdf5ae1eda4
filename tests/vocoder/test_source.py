"""The harmonic source: its phase in closed form, over long streams and over joints; its noise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from speech.streaming.driver import Driver
from speech.streaming.frames import Frames
from speech.vocoder.source import NOISE_FRAMES, Source, SourceConfig

QUIET = SourceConfig(harmonics=1, noise="none")


def source(config: SourceConfig, sample_rate: int = 24000, hop: int = 480) -> Source:
    """A source whose output is near the sum of the sines: the merging layer is the sum, tanh bends little."""
    module = Source(config, sample_rate, hop).eval()
    torch.nn.init.ones_(module.merge.weight)
    torch.nn.init.zeros_(module.merge.bias)
    return module


def streamed(module: Source, f0: Tensor, chunk: int) -> Tensor:
    """[t] -> [t * hop], by chunks."""
    driver = Driver(module, chunk)
    return torch.cat([driver.push(f0), driver.flush()])


def phases(f0: Tensor, config: SourceConfig, hop: int) -> Tensor:
    """The phase of every sample in cycles, [t * hop, harmonics] float64, by library functions on the whole signal."""
    cycles = f0.double()[:, None] * torch.arange(1, config.harmonics + 1) * hop / 24000
    if config.phase == "integral":
        return (cycles / hop).repeat_interleave(hop, 0).cumsum(0)
    mode = {"linear": "linear", "nearest": "nearest"}[config.phase]
    return interpolate(cycles.cumsum(0).T[None], scale_factor=hop, mode=mode)[0].T


@pytest.mark.parametrize("phase", ["linear", "nearest", "integral"])
def test_closed_form(phase: str) -> None:
    config = replace(QUIET, harmonics=4, phase=phase)  # type: ignore[arg-type]
    f0 = 100 + 50 * torch.rand(30, generator=torch.Generator().manual_seed(0))
    f0[10:15] = 3.0  # unvoiced, but the phase runs on
    sines = 0.1 * (2 * torch.pi * phases(f0, config, 480)).sin() * (f0 > 10).repeat_interleave(480)[:, None]
    with torch.inference_mode():
        y = source(config)(Frames.whole(f0[None])).data[0]
    torch.testing.assert_close(y.double(), sines.sum(1).tanh(), atol=1e-5, rtol=0)


def test_phase_is_exact_at_the_end_of_200_seconds() -> None:
    hertz, frames, last = torch.tensor(123.456), 200 * 50, 480 * 50
    module = source(QUIET)
    driver = Driver(module, 500)
    tail = torch.cat([driver.push(hertz.expand(frames))[-last:], driver.flush()])[-last:]
    n = torch.arange(frames * 480 - last, frames * 480 - 240, dtype=torch.float64)
    # the phase of frame i, hop * (i + 1) samples' worth, belongs to its middle
    expected = (0.1 * (2 * torch.pi * (hertz.double() / 24000 * (n + 0.5 + 240))).sin()).tanh()
    torch.testing.assert_close(tail[: len(n)].double(), expected, atol=1e-6, rtol=0)


def test_phase_is_exact_after_an_hour() -> None:
    hop, rate, frames = 4, 200, 3600 * 50
    hertz = torch.tensor(17.3)
    y = streamed(source(replace(QUIET, phase="integral"), rate, hop), hertz.expand(frames), 9000)[-1000:]
    n = torch.arange(frames * hop - 1000, frames * hop, dtype=torch.float64)
    expected = (0.1 * (2 * torch.pi * (hertz.double() / rate * (n + 1)).remainder(1)).sin()).tanh()
    torch.testing.assert_close(y.double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("phase", ["linear", "integral"])
def test_no_sample_jumps_at_joints(phase: str) -> None:
    """A sine cannot change faster than its frequency lets it; one that began anew at a joint would."""
    f0 = 150 + 100 * torch.rand(60, generator=torch.Generator().manual_seed(1))
    y = streamed(source(replace(QUIET, phase=phase)), f0, 5)  # type: ignore[arg-type]
    assert y.diff().abs().max() < 0.1 * 2 * torch.pi * 250 / 24000


def test_noise_belongs_to_the_place_in_the_stream() -> None:
    module, f0 = source(replace(QUIET, noise="gaussian"), hop=8), torch.zeros(2 * NOISE_FRAMES)
    assert module.noise is not None and module.noise.shape == (NOISE_FRAMES, 1, 8)
    with torch.inference_mode():
        whole = module(Frames.whole(f0[None])).data[0]
    torch.testing.assert_close(streamed(module, f0, 7), whole)
    torch.testing.assert_close(whole[: len(whole) // 2], whole[len(whole) // 2 :])
    assert abs(float(whole.std()) - 0.1 / 3) < 0.003
    again = Source(replace(QUIET, noise="gaussian"), 24000, 8)
    assert torch.equal(again.noise, module.noise)  # type: ignore[arg-type]
    assert "noise" not in module.state_dict()


def test_noise_is_drawn_anew_in_training() -> None:
    module, f0 = source(replace(QUIET, noise="uniform")).train(), Frames.whole(torch.zeros(1, 10))
    first, second = module(f0).data.detach(), module(f0).data
    assert not torch.equal(first, second)
    assert first.min() >= 0 and first.max() <= 0.1 / 3


def test_without_noise_an_unvoiced_stream_is_silent() -> None:
    assert not streamed(source(QUIET), torch.full((5,), 9.0), 2).any()
