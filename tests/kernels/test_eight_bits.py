from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.kernels.eight_bits import DTYPES, GREATEST, dequantised, quantised, rounded


@settings(max_examples=20, deadline=None)
@given(
    m=st.integers(1, 9),
    n=st.integers(1, 40),
    size=st.sampled_from([1e-20, 1.0, 1e20]),
    seed=st.integers(0, 99),
    kind=st.sampled_from([*DTYPES]),
)
def test_no_number_is_off_by_more_than_half_a_step(m: int, n: int, size: float, seed: int, kind: str) -> None:
    x = torch.randn(m, n, generator=torch.Generator().manual_seed(seed)) * size
    x[0] = 0
    codes, scale = quantised(x, DTYPES[kind])
    assert codes.dtype == DTYPES[kind] and codes.double().abs().max() <= GREATEST[codes.dtype]
    assert m == 1 or codes[1:].double().abs().amax(1).eq(GREATEST[codes.dtype]).all()
    back = dequantised(codes, scale, torch.float64)
    half = scale[:, None].double().expand_as(x) * (0.5001 if kind == "int8" else 2**-10)
    half = half if kind == "int8" else half.maximum(x.double().abs() * 0.06251)
    assert ((back - x.double()).abs() <= half).all()
    assert not back[0].any()


@pytest.mark.parametrize("kind", DTYPES)
def test_rounding_again_changes_nothing(kind: str) -> None:
    x = torch.randn(50, 64)
    once = rounded(x, DTYPES[kind])
    torch.testing.assert_close(rounded(once, DTYPES[kind]), once, rtol=1e-6, atol=0)
    assert not torch.equal(once, x)
