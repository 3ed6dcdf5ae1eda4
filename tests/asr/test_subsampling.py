from __future__ import annotations

import pytest
import torch

from speech.asr.subsampling import Subsampling
from speech.hub.checkpoint import _Unfilled
from speech.streaming.frames import Frames


@pytest.mark.parametrize("causal", [True, False])
def test_a_fresh_front_end_passes_on_what_changes_over_time(causal: bool) -> None:
    torch.manual_seed(0)
    front = Subsampling(80, 32, 96, causal=causal)
    out = front(Frames.whole(torch.randn(2, 400, 80))).data[:, 2:-2]
    change, level = out.std(1).mean(), out.mean(1).abs().mean()
    assert change > 0.2
    assert change > 0.3 * level


@pytest.mark.parametrize("bias", [True, False])
def test_weights_have_the_variance_of_their_fan_in(bias: bool) -> None:
    torch.manual_seed(0)
    front = Subsampling(80, 64, 128, bias=bias)
    weights = dict(front.named_parameters())
    assert all(not p.any() for name, p in weights.items() if name.endswith("bias"))
    for name, fan, gain in (("conv1.weight", 9, 2), ("mix1.module.weight", 64, 2), ("out.module.weight", 704, 1)):
        assert weights[name].var().item() == pytest.approx(gain / fan, rel=0.15)


def test_lengths_are_those_of_the_docstring() -> None:
    for t in range(1, 40):
        assert Subsampling(8, 2, 4).total(t) == (t + 6) // 8 + 1
        assert Subsampling(8, 2, 4, causal=False).total(t) == -(-t // 8)


def test_a_checkpoint_that_is_loaded_needs_no_draws_for_it() -> None:
    front, state = Subsampling(8, 2, 4), torch.get_rng_state()
    with _Unfilled(most=100_000):
        front._initialise()
    assert torch.equal(torch.get_rng_state(), state)
