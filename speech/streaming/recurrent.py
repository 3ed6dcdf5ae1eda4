"""Recurrent networks and a linear recurrence, frame by frame online."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from speech.streaming.frames import Frames
from speech.streaming.module import Device, State, Streaming


class Recurrent(Streaming):
    """Layers of gated cells over torch's own weights. x: [b, t, d] -> [b, t, hidden].

    A frame outside the stream leaves the cells as they are: the biases would otherwise move them before it begins.
    """

    names: tuple[str, ...]
    """The cell's state tensors; the first is its output."""

    def __init__(self, rnn: nn.LSTM | nn.GRU) -> None:
        super().__init__()
        self.rnn = rnn

    def _cell(self, x: Tensor, past: tuple[Tensor, ...], weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
        """One frame of one layer. x: [b, gates], the projected input; past: [b, hidden] for each name."""
        raise NotImplementedError

    def forward(self, frames: Frames) -> Frames:
        return frames.like(self.rnn(frames.zeroed())[0])

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        shape = (slots, self.rnn.num_layers, self.rnn.hidden_size)
        return {name: torch.zeros(shape, device=device, dtype=dtype) for name in self.names}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        x, valid = frames.zeroed(), frames.place.valid[..., None]
        for layer in range(self.rnn.num_layers):
            w_in, w_past, b_in, b_past = self._weights(layer)
            gates, outs = linear(x, w_in, b_in), []
            past = tuple(state[name][slots, layer] for name in self.names)
            for i in range(frames.place.count):
                new = self._cell(gates[:, i], past, w_past, b_past)
                past = tuple(torch.where(valid[:, i], n, p) for n, p in zip(new, past, strict=True))
                outs.append(past[0])
            for name, value in zip(self.names, past, strict=True):
                state[name][slots, layer] = value
            x = torch.stack(outs, 1)
        return frames.like(x)

    def _weights(self, layer: int) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Input and recurrent weights, and their biases if there are any."""
        rnn, name = self.rnn, f"l{layer}"
        w_in, w_past = getattr(rnn, f"weight_ih_{name}"), getattr(rnn, f"weight_hh_{name}")
        return w_in, w_past, getattr(rnn, f"bias_ih_{name}", None), getattr(rnn, f"bias_hh_{name}", None)


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter, Schmidhuber 1997), weights as in `nn.LSTM`. [b, t, d] -> [b, t, hidden]."""

    names = ("h", "c")

    def __init__(self, dim: int, hidden: int, layers: int = 1, *, bias: bool = True) -> None:
        super().__init__(nn.LSTM(dim, hidden, layers, bias=bias, batch_first=True))

    def _cell(self, x: Tensor, past: tuple[Tensor, ...], weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
        h, c = past
        write, keep, value, read = (x + linear(h, weight, bias)).chunk(4, -1)
        c = keep.sigmoid() * c + write.sigmoid() * value.tanh()
        return read.sigmoid() * c.tanh(), c


class GRU(Recurrent):
    """Gated recurrent unit (Cho et al. 2014), weights as in `nn.GRU`. [b, t, d] -> [b, t, hidden]."""

    names = ("h",)

    def __init__(self, dim: int, hidden: int, layers: int = 1, *, bias: bool = True) -> None:
        super().__init__(nn.GRU(dim, hidden, layers, bias=bias, batch_first=True))

    def _cell(self, x: Tensor, past: tuple[Tensor, ...], weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
        (h,) = past
        x_reset, x_update, x_new = x.chunk(3, -1)
        h_reset, h_update, h_new = linear(h, weight, bias).chunk(3, -1)
        update = (x_update + h_update).sigmoid()
        new = (x_new + (x_reset + h_reset).sigmoid() * h_new).tanh()
        return ((1 - update) * new + update * h,)


class LegendreMemory(Streaming):
    """The linear memory of the Legendre memory unit (Voelker, Kajic and Eliasmith 2019).

    x: [b, t, d] -> [b, t, d * order].
    Every channel's last `window` frames, as coefficients of the first `order` shifted Legendre polynomials:
    m[t] = A m[t - 1] + B x[t]. Nothing is learned. Whole signals are convolved with the impulse response A^k B by FFT
    (Chilkuri and Eliasmith 2021, arXiv 2102.11417), chunks step frame by frame.
    """

    a: Tensor
    b: Tensor

    def __init__(self, dim: int, order: int, window: float) -> None:
        super().__init__()
        self.dim, self.order = dim, order
        a, b = legendre(order, window)
        self.register_buffer("a", a.float())
        self.register_buffer("b", b.float())

    def forward(self, frames: Frames) -> Frames:
        t = frames.data.shape[1]
        n = max(2 * t, 1)  # long enough that the circular convolution does not wrap
        spectrum = (
            torch.fft.rfft(frames.zeroed(), n, dim=1)[..., None] * torch.fft.rfft(self._response(t), n, dim=0)[:, None]
        )
        return frames.like(torch.fft.irfft(spectrum, n, dim=1)[:, :t].flatten(2))

    def _response(self, count: int) -> Tensor:
        """A^k B for k = 0 .. count - 1, [count, order], by doubling."""
        response, power = self.b[None], self.a
        while len(response) < count:
            response = torch.cat([response, response @ power.T])
            power = power @ power
        return response[:count]

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        return {"memory": torch.zeros(slots, self.dim, self.order, device=device, dtype=dtype)}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        written, memory, outs = frames.zeroed()[..., None] * self.b, state["memory"][slots], []
        for i in range(frames.place.count):
            memory = memory @ self.a.T + written[:, i]
            outs.append(memory)
        state["memory"][slots] = memory
        return frames.like(torch.stack(outs, 1).flatten(2))


def legendre(order: int, window: float) -> tuple[Tensor, Tensor]:
    """A [order, order] and B [order] of the delay network (Voelker et al. 2019, eq. 2), held constant over each frame.

    window * m' = A m + B u with A_ij = (2i + 1) (-1 if i < j else (-1)^(i - j + 1)) and B_i = (2i + 1) (-1)^i.
    """
    i = torch.arange(order, dtype=torch.float64)
    sign = torch.where(i[:, None] < i, -1.0, (-1.0) ** (i[:, None] - i + 1))
    a, b = (2 * i[:, None] + 1) * sign / window, (2 * i + 1) * (-1.0) ** i / window
    discrete = torch.linalg.matrix_exp(a)
    return discrete, torch.linalg.solve(a, (discrete - torch.eye(order, dtype=torch.float64)) @ b)
