"""Schedules, noise, guidance, and the state of two rows read as one."""

from __future__ import annotations

import pytest
import torch

from speech.errors import SpeechError
from speech.flow.dit import DiT, DiTConfig
from speech.flow.layers import Context
from speech.flow.solver import NOISE_FRAMES, Rows, Sampling, Solver, start_noise
from speech.streaming.frames import OPEN, Frames, Place

MEL = 4


class Known(DiT):
    """A network of a known velocity, time and the first condition: what the solver makes of it can be written out."""

    def forward(self, frames: Frames, time: list[torch.Tensor]) -> Frames:  # type: ignore[override]
        return frames.like(frames.data[..., MEL : 2 * MEL] + time[0])

    def modulate(self, t: torch.Tensor, r: torch.Tensor | None = None) -> list[torch.Tensor]:
        return [(t if r is None else t + 10 * r)[:, None, None]]


def known(sampling: Sampling) -> Solver:
    config = DiTConfig(mel=MEL, dim=16, layers=1, heads=1, head_dim=4, position_conv=0)
    return Solver(Known(config, Context(2, 2)), start_noise(MEL, 20), sampling)


def test_noise_is_that_of_the_public_model() -> None:
    noise = start_noise(80)
    assert noise.shape == (NOISE_FRAMES, 80)
    first = torch.tensor([-1.12583983, -1.15236020, -0.25057858, -0.43387881, 0.84871036, 0.69200915])
    torch.testing.assert_close(noise[:6, 0], first, atol=1e-6, rtol=0)
    torch.testing.assert_close(noise[:3, 1], torch.tensor([0.86917937, 0.57619685, -0.41195306]), atol=1e-6, rtol=0)
    before = torch.get_rng_state()
    start_noise(2, 3)
    assert torch.equal(torch.get_rng_state(), before), "drawing it leaves the common generator alone"


def test_noise_goes_round_moved_by_a_channel() -> None:
    solver = known(Sampling(steps=1, guidance=0.0, times=(0.0, 0.0)))
    with torch.inference_mode():
        y = solver(Frames.whole(torch.zeros(1, 45, 3 * MEL))).data[0]
    assert torch.equal(y[:20], solver.noise) and torch.equal(y[20:40], solver.noise.roll(-1, 1))
    assert torch.equal(y[40:], solver.noise[:5].roll(-2, 1))
    cooler = known(Sampling(steps=1, guidance=0.0, times=(0.0, 0.0), temperature=0.3))
    with torch.inference_mode():
        assert torch.equal(cooler(Frames.whole(torch.zeros(1, 45, 3 * MEL))).data[0], 0.3 * y)


def test_schedules() -> None:
    cosine = [0, 0.012312, 0.048943, 0.108993, 0.190983, 0.292893, 0.412215, 0.546009, 0.690983, 0.843566, 1]
    torch.testing.assert_close(Sampling().grid(), torch.tensor(cosine), atol=1e-6, rtol=0)
    assert Sampling(2, mean=True).grid().tolist() == [1, 0.5, 0]
    starts, spans = Sampling(2, mean=True, times=(1.0, 0.75, 0.0)).intervals()
    assert (starts.tolist(), spans.tolist()) == ([1, 0.75], [-0.25, -0.75])
    for wrong in ({"steps": 0}, {"guidance": -0.1}, {"temperature": -0.1}, {"steps": 2, "times": (0.0, 1.0)}):
        with pytest.raises(SpeechError, match="one time more"):
            Sampling(**wrong)


@pytest.mark.parametrize("guidance", [0.0, 0.7])
def test_euler_with_guidance(guidance: float) -> None:
    """With v = mu + t the guided velocity is (1 + guidance) mu + t."""
    sampling = Sampling(3, guidance, times=(0.0, 0.5, 0.75, 1.0))
    conditions = torch.randn(2, 6, 3 * MEL)
    with torch.inference_mode():
        got = known(sampling)(Frames.whole(conditions)).data
    mu = (1 + guidance) * conditions[..., :MEL]
    wanted = start_noise(MEL, 20)[:6] + mu + 0.5 * 0 + 0.25 * 0.5 + 0.25 * 0.75
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


def test_mean_flow_goes_from_one_to_zero() -> None:
    """z_r = z_t - (t - r) u(z_t, r, t), with u = mu + t + 10 r."""
    conditions = torch.randn(1, 4, 3 * MEL)
    with torch.inference_mode():
        got = known(Sampling(2, 0.0, mean=True, times=(1.0, 0.8, 0.0)))(Frames.whole(conditions)).data
    wanted = start_noise(MEL, 20)[:4] - conditions[..., :MEL] - 0.2 * (1 + 8) - 0.8 * 0.8
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


def test_rows_read_and_write_both_parts() -> None:
    parts = [torch.arange(12.0).view(3, 4), 100 + torch.arange(12.0).view(3, 4)]
    rows, slots = Rows(parts), torch.tensor([2, 0, 2, 0])
    assert rows[slots][:, 0].tolist() == [8, 0, 108, 100] and rows.shape == (3, 4)
    cell = torch.tensor([[1, 2]] * 4)
    rows[slots[:, None], cell] = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    assert parts[0][2].tolist() == [8, 1, 2, 11] and parts[1][0].tolist() == [100, 7, 8, 103]
    assert parts[0][1].tolist() == [4, 5, 6, 7], "a slot that is not listed is not touched"


def test_every_step_and_row_has_a_state_of_its_own() -> None:
    solver = known(Sampling(steps=3))
    state = solver.init_state(2)
    assert list(state) == ["0", "1", "2"] and list(state["1"]) == ["guided", "free"]
    assert list(known(Sampling(steps=1, guidance=0.0)).init_state(2)["0"]) == ["guided"]


def test_the_cost_of_a_step_does_not_depend_on_the_past() -> None:
    """The same operations on tensors of the same shapes, wherever in the stream a chunk lies."""
    config = DiTConfig(mel=MEL, dim=16, layers=1, heads=1, head_dim=4, position_conv=0)
    solver = Solver(DiT(config, Context(2, 4)), start_noise(MEL, 20), Sampling(steps=2))
    state = solver.init_state(1)
    calls = []
    for start in (0, 400_000):
        place = Place(torch.tensor([start]), torch.tensor([OPEN]), 4)
        with torch.inference_mode(), torch.profiler.profile(record_shapes=True) as profile:
            solver.step(Frames(torch.randn(1, 4, 3 * MEL), place), state, torch.tensor([0]))
        calls.append([(event.name, str(event.input_shapes)) for event in profile.events()])
    assert calls[0] == calls[1]
