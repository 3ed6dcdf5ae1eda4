"""Overlap-add by chunks, against the whole signal in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from speech.kernels.overlap_add import overlap_add, overlap_add_reference
from speech.streaming.spectral import ISTFT, centred_window
from tests.kernels.stepped import stepped
from tests.kernels.tolerances import TOLERANCES

OPS = [overlap_add, overlap_add_reference]
SLOTS = 4


def arena_view(kept: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The memory of slots, and sums in it whose slots lie farther apart than they are long."""
    memory = torch.rand(SLOTS, 2 * kept + 5).to(device, dtype)
    return memory, memory[:, 1 : 1 + 2 * kept].unflatten(1, (kept, 2))


def exact(x: Tensor, valid: Tensor, window: Tensor, hop: int, old: Tensor) -> tuple[Tensor, Tensor]:
    """Sample by sample in float64: the final samples, and the sums to keep."""
    b, t, n = x.shape
    total = torch.zeros(b, t * hop + n - hop, 2, dtype=torch.float64, device=x.device)
    total[:, : n - hop] += old.double()
    wide = window.double()
    for i in range(t):
        total[:, i * hop : i * hop + n, 0] += x[:, i].double() * wide
        total[:, i * hop : i * hop + n, 1] += valid[:, i, None] * wide.square()
    weight = total[:, : t * hop, 1]
    return total[:, : t * hop, 0] / torch.where(weight > 1e-11, weight, 1.0), total[:, t * hop :]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", list(TOLERANCES))
@pytest.mark.parametrize(
    ("b", "t", "n", "hop"), [(1, 1, 3, 1), (2, 3, 17, 4), (3, 70, 16, 4), (2, 1, 640, 160), (1, 2, 6, 6)]
)
@pytest.mark.usefixtures("poisoned")
def test_samples_and_kept_sums_equal_float64(
    op: Callable[..., Tensor], dtype: torch.dtype, b: int, t: int, n: int, hop: int, device: torch.device
) -> None:
    torch.manual_seed(n)
    x, window = torch.randn(b, t, n).to(device, dtype), (0.5 + torch.rand(n)).to(device, dtype)
    valid = torch.rand(b, t, device=device) < 0.7
    x = x * valid[..., None]
    _, sums = arena_view(n - hop, dtype, device)
    slots = torch.randperm(SLOTS, device=device)[:b]
    expected = exact(x, valid, window, hop, sums[slots])
    y = op(x, valid, window, hop, sums, slots)
    rtol, atol = TOLERANCES[dtype]
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), expected[0], rtol=rtol, atol=atol)
    torch.testing.assert_close(sums[slots].double(), expected[1], rtol=rtol, atol=atol)


@pytest.mark.parametrize("op", OPS)
def test_slots_that_do_not_step_and_what_lies_between_slots_stay_bit_for_bit(
    op: Callable[..., Tensor], device: torch.device
) -> None:
    memory, sums = arena_view(12, torch.float32, device)
    before, slots = memory.clone(), torch.tensor([2, 0], device=device)
    x, valid = torch.randn(2, 2, 16, device=device), torch.ones(2, 2, dtype=torch.bool, device=device)
    op(x, valid, torch.ones(16, device=device), 4, sums, slots)
    changed = torch.zeros_like(memory, dtype=torch.bool)
    changed[slots, 1:25] = True
    assert torch.equal(memory[~changed], before[~changed]) and not torch.equal(memory[changed], before[changed])


def test_what_does_not_fit_is_named(device: torch.device) -> None:
    with pytest.raises(ValueError, match=r"expected a window \[16\] and sums of rows \[12, 2\]"):
        overlap_add(
            torch.ones(1, 2, 16, device=device),
            torch.ones(1, 2, dtype=torch.bool, device=device),
            torch.ones(16, device=device),
            4,
            torch.zeros(2, 8, 2, device=device),
            torch.zeros(1, dtype=torch.long, device=device),
        )


@pytest.mark.parametrize(("n_fft", "hop", "window"), [(16, 4, None), (24, 5, 20)])
@torch.inference_mode()
def test_the_inverse_transform_steps_as_pytorchs_runs_whole(
    n_fft: int, hop: int, window: int | None, device: torch.device
) -> None:
    torch.manual_seed(0)
    module = ISTFT(n_fft, hop, window).to(device)
    spectra = torch.randn(2, 9, n_fft // 2 + 1, 2, device=device)
    expected = torch.istft(
        torch.view_as_complex(spectra).transpose(1, 2), n_fft, hop, window=centred_window(n_fft, window, hop).to(device)
    )
    for chunk in (1, 5):
        torch.testing.assert_close(stepped(module, spectra, chunk), expected, rtol=1e-4, atol=1e-5)
