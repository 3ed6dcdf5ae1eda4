"""What greedy transducer decoding works on: the weights of two networks, rules, and where every row stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Cell(NamedTuple):
    """An LSTM layer, gates in the order input, forget, cell, output.

    input: [4 d, n]; recurrent: [4 d, d]; bias: [4 d], the sum of both.
    """

    input: Tensor
    recurrent: Tensor
    bias: Tensor


class Weights(NamedTuple):
    """Prediction and joint network; all of one dtype. The blank is the last of v tokens and starts the prediction.

    embedding: [v, n]; cells: one a layer; predicted, [j, d], and its bias, [j]: from the last layer to the joint
    network; out, [v, j], and its bias, [v]: from there to the scores.
    """

    embedding: Tensor
    cells: tuple[Cell, ...]
    predicted: Tensor
    predicted_bias: Tensor
    out: Tensor
    out_bias: Tensor


class Rules(NamedTuple):
    """window: frames a row looks at in one turn. max_symbols: tokens after which a frame is left.

    restart: the prediction network forgets what was emitted when so many frames brought no token. None: never.
    """

    window: int = 8
    max_symbols: int = 10
    restart: int | None = None


class Found(NamedTuple):
    """What a row emitted: (token, frame, log-probability) in order, and whether it has frames left to look at."""

    tokens: list[tuple[int, int, float]]
    unfinished: bool


@dataclass(frozen=True)
class Search:
    """Where the rows of a batch stand in their chunk. Every tensor is written in place, but `start` and `end`.

    start: [b] stream index of the chunk's first frame. at, end: [b] the chunk's frame that comes next, and the one
    after the last. burst: [b] tokens emitted in that frame so far. last: [b] 0 when the prediction network has not run
    yet, -1 when it ran on nothing, else 1 + the stream index of the last token's frame. All int64.
    h, c: [b, layers, d] of the prediction network; predicted: [b, j], its projected output.
    tokens, frames, int64, and logprobs, float64: [b, n], what the last call emitted: the ids, the stream index of their
    frames and their log-probabilities, of which the first `count`, [b] int64, are there. n is the number of turns.
    """

    start: Tensor
    end: Tensor
    at: Tensor
    burst: Tensor
    last: Tensor
    h: Tensor
    c: Tensor
    predicted: Tensor
    tokens: Tensor
    frames: Tensor
    logprobs: Tensor
    count: Tensor

    @classmethod
    def of(
        cls, start: Tensor, stop: Tensor, size: int, last: Tensor, h: Tensor, c: Tensor, predicted: Tensor, turns: int
    ) -> Search:
        """At the first frame of a chunk of `size` frames that lies in the stream, [0, stop); start, stop: [b] int64."""
        shape = len(start), turns
        return cls(
            start=start,
            end=(stop - start).clamp(max=size),
            at=(-start).clamp(min=0),
            burst=torch.zeros_like(start),
            last=last,
            h=h,
            c=c,
            predicted=predicted,
            tokens=start.new_empty(shape),
            frames=start.new_empty(shape),
            logprobs=torch.empty(shape, device=start.device, dtype=torch.float64),
            count=torch.zeros_like(start),
        )

    def report(self) -> list[Found]:
        """What the last call brought for each row: one copy from the device, which is waited for."""
        n = self.tokens.shape[1]
        heads = self.count[:, None], (self.at < self.end)[:, None]
        rows = torch.cat([*heads, self.tokens, self.frames, self.logprobs], 1).tolist()  # float64 holds them all
        out = []
        for count, unfinished, *fields in rows:
            kept = range(int(count))
            tokens = [(int(fields[k]), int(fields[n + k]), fields[2 * n + k]) for k in kept]
            out.append(Found(tokens, bool(unfinished)))
        return out
