"""What attention sees, and the constants it folds."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from speech.streaming.arena import Arena
from speech.streaming.attention import Attention, Rotary, sinusoid, skew
from speech.streaming.frames import Frames, Place
from tests.kernels.stepped import stepped


def _seen(attention: Attention, query: int, count: int) -> list[int]:
    """The frames whose change alters the output of `query`."""
    torch.manual_seed(0)
    x = torch.randn(count, attention.dim)
    changed = x.repeat(count, 1, 1)
    changed[torch.arange(count), torch.arange(count)] += torch.randn(count, attention.dim)
    with torch.inference_mode():
        before = attention(Frames.whole(x[None])).data[0, query]
        after = attention(Frames.whole(changed)).data[:, query]
    return ((after - before).abs().amax(1) > 1e-6).nonzero()[:, 0].tolist()


def test_a_query_sees_its_window() -> None:
    build = partial(Attention, 8, 2)
    assert _seen(build(left=3, right=2), 8, 14) == [5, 6, 7, 8, 9, 10]
    assert _seen(build(left=4, chunk=4), 9, 14) == [4, 5, 6, 7, 8, 9, 10, 11]
    assert _seen(build(left=2, chunk=2, sinks=3), 10, 14) == [0, 1, 2, 8, 9, 10, 11]
    assert _seen(build(left=1, sinks=1, position="rotary"), 6, 14) == [0, 5, 6]


def test_relative_scores_follow_transformer_xl() -> None:
    """(q_i + u) . k_j + (q_i + v) . r_(i - j), written out pair by pair (Dai et al. 2019, section 3.3)."""
    torch.manual_seed(0)
    attention, t = Attention(4, 1, left=10, right=10), 6
    torch.nn.init.normal_(attention.u)
    torch.nn.init.normal_(attention.v)
    x = torch.randn(1, t, 4)
    with torch.inference_mode():
        q, k, v = attention.qkv(x[0]).chunk(3, -1)
        r = attention.pos(sinusoid(t - 1, 1 - t, 4))
        score = torch.empty(t, t)
        for i in range(t):
            for j in range(t):
                score[i, j] = (q[i] + attention.u[0]) @ k[j] + (q[i] + attention.v[0]) @ r[t - 1 - (i - j)]
        expected = attention.out((score / 2).softmax(-1) @ v)
        torch.testing.assert_close(attention(Frames.whole(x)).data[0], expected)


def test_skew_turns_distances_into_keys() -> None:
    t = 5
    distance = torch.arange(t - 1, -t - 1, -1.0).expand(1, 1, t, 2 * t)
    i = torch.arange(t)
    assert torch.equal(skew(distance)[0, 0], (i[:, None] - i).float())


def test_folded_positions_follow_the_weights() -> None:
    attention = Attention(8, 2, left=4, chunk=2)
    x, place = torch.randn(1, 2, 8), Place(torch.zeros(1, dtype=torch.long), torch.full((1,), 2), 2)

    def step() -> Tensor:
        return attention.step(Frames(x, place), attention.init_state(1), torch.zeros(1, dtype=torch.long)).data

    with torch.no_grad():
        step()
        attention.pos.weight.mul_(3.0)
        torch.testing.assert_close(step(), attention(Frames.whole(x)).data)


def test_chunks_off_the_grid_are_refused() -> None:
    attention = Attention(8, 2, left=4, chunk=4)
    slots = torch.zeros(1, dtype=torch.long)
    for count, phase in ((6, 0), (4, -2)):
        frames = Frames(torch.randn(1, count, 8), Place(slots + phase, slots + 99, count, phase))
        with pytest.raises(ValueError, match="whole chunks of 4"):
            attention.step(frames, attention.init_state(1), slots)
    with pytest.raises(ValueError, match="multiple of chunk"):
        Attention(8, 2, left=5, chunk=4)
    with pytest.raises(ValueError, match="multiple of heads"):
        Attention(9, 2, left=4)


def test_grouped_heads_share_keys_and_turn_as_torch_says() -> None:
    """Against torch's own grouped attention over queries and keys turned as complex numbers."""
    torch.manual_seed(0)
    t, heads, kv_heads, e = 7, 4, 2, 6
    attention = Attention(8, heads, left=t, position=Rotary(100.0, interleaved=True), kv_heads=kv_heads, head_dim=e)
    x = torch.randn(1, t, 8)
    with torch.inference_mode():
        q, k, v = (y.unflatten(-1, (-1, e)).transpose(1, 2) for y in attention.qkv(x).split(attention.widths, -1))
        angle = torch.arange(t)[:, None] * 100.0 ** (-torch.arange(0, e, 2) / e)
        turn = torch.polar(torch.ones_like(angle), angle)
        q, k = (torch.view_as_real(torch.view_as_complex(y.unflatten(-1, (-1, 2))) * turn).flatten(-2) for y in (q, k))
        y = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        expected = attention.out(y.transpose(1, 2).flatten(2))
        torch.testing.assert_close(attention(Frames.whole(x)).data, expected)


@pytest.mark.parametrize("cells", [torch.int8, torch.float8_e4m3fn])
@pytest.mark.parametrize(
    "options", [{"left": 6, "chunk": 3, "sinks": 2}, {"left": 5, "right": 2, "position": "rotary", "kv_heads": 1}]
)
@torch.inference_mode()
def test_cells_of_eight_bits_hide_no_chunking(cells: torch.dtype, options: dict) -> None:
    """In float64, lest a sum's last bit decides which way a number is rounded."""
    torch.manual_seed(0)
    plain = Attention(8, 2, **options).double()
    short = Attention(8, 2, **options, cells=cells).double()
    short.load_state_dict(plain.state_dict())
    x = torch.randn(2, 20, 8, dtype=torch.float64)
    whole = short(Frames.whole(x)).data
    for chunk in (3, 6, 15):
        torch.testing.assert_close(stepped(short, x, chunk), whole, rtol=1e-5, atol=1e-5)
    off = (whole - plain(Frames.whole(x)).data).abs().max()
    assert 1e-4 < off < 0.05


def test_cells_of_eight_bits_take_a_quarter() -> None:
    sizes = [
        Arena(Attention(256, 4, left=70, sinks=4, cells=cells), 1).bytes
        for cells in (None, torch.int8, torch.float8_e4m3fn)
    ]
    assert sizes[1] == sizes[2] < 0.3 * sizes[0]
