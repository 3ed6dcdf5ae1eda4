"""Convolutions against torch's own, weights and all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from speech.streaming.conv import Conv1d, ConvTranspose1d
from speech.streaming.frames import Frames


def _apply(conv: nn.Module, x: Tensor) -> Tensor:
    return conv(x.transpose(1, 2)).transpose(1, 2)


@pytest.mark.parametrize(("padding", "stride", "dilation", "groups"), [(2, 1, 1, 1), (4, 2, 2, 1), (0, 3, 1, 2)])
def test_conv1d_with_padding_on_both_sides(padding: int, stride: int, dilation: int, groups: int) -> None:
    theirs = nn.Conv1d(4, 6, 5, stride, padding, dilation, groups)
    span = 4 * dilation
    ours = Conv1d(4, 6, padding, span - padding, stride=stride, dilation=dilation, groups=groups, tail=padding)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 23, 4)
    y = ours(Frames.whole(x))
    expected = _apply(theirs, x)
    torch.testing.assert_close(y.data[:, : int(y.lengths[0])], expected)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "groups"), [(8, 4, 2, 1), (5, 2, 0, 2), (3, 3, 0, 1), (11, 5, 3, 1), (4, 1, 2, 1)]
)
def test_transposed_convolution_with_padding(kernel: int, stride: int, padding: int, groups: int) -> None:
    theirs = nn.ConvTranspose1d(4, 6, kernel, stride, padding, groups=groups)
    ours = ConvTranspose1d(4, 6, kernel, stride=stride, trim=padding, groups=groups)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 9, 4)
    y = ours(Frames.whole(x))
    torch.testing.assert_close(y.data, _apply(theirs, x))
    assert y.lengths.tolist() == [y.data.shape[1]] * 2


def test_a_causal_transposed_convolution_looks_at_no_future_frame() -> None:
    conv = ConvTranspose1d(2, 2, 8, stride=4, trim_end=4)
    assert conv.look_ahead == 0 and conv.first(0) == 0 and conv.total(7) == 28


def test_windows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="stride >= 1"):
        Conv1d(2, 2, -1)
    with pytest.raises(ValueError, match="multiple of dilation"):
        Conv1d(2, 2, 3, dilation=2)
    with pytest.raises(ValueError, match="kernel - stride"):
        ConvTranspose1d(2, 2, 4, stride=2, trim=3)
