"""Greedy decoding of streams: CTC, and transducer by label looping. Chunked decoding equals whole-signal decoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from speech.asr.heads import CTCHead, Joint, Prediction
from speech.kernels.backend import launches
from speech.kernels.transducer_greedy import Cell, Rules, Search, Weights, transducer_greedy
from speech.streaming.frames import Frames
from speech.streaming.module import State

TURNS = 64  # launched at a time without looking at most: rows of a long signal are rarely through at once


class Token(NamedTuple):
    """A decoded token: its id, the stream index of the encoder frame that emitted it, and its log-probability there."""

    id: int
    frame: int
    logprob: float


class Greedy:
    """A decoder of encoder frames. Its state is as every streamable module's: zeros at the start, slot axis first.

    The work depends on what is decoded, so unlike a `Streaming.step` it is not one fixed graph.
    """

    def init_state(
        self, slots: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """State for `slots` streams: zeros, slot axis first."""
        raise NotImplementedError

    def step(self, frames: Frames, state: State, slots: Tensor) -> list[list[Token]]:
        """Decode one chunk of the streams in `slots` ([b] int64); frames: [b, t, d]. State is updated in place.

        Returns the tokens of each row, in order. Frames outside their stream are skipped.
        """
        raise NotImplementedError

    def decode(self, frames: Frames) -> list[list[Token]]:
        """Decode whole signals. frames: [b, t, d]."""
        x = frames.data
        state = self.init_state(len(x), x.device, x.dtype)
        return self.step(frames, state, torch.arange(len(x), device=x.device))


class CTCGreedy(Greedy):
    """The best label of every frame, repeats merged, blanks dropped (Graves et al. 2006).

    A token's frame and log-probability are those of the first frame of its run. State: `label`, 1 + the last frame's
    label, 0 before any frame.
    """

    def __init__(self, head: CTCHead) -> None:
        self.head = head
        self.blank = head.out.out_features - 1

    def init_state(
        self, slots: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        return {"label": torch.zeros(slots, dtype=torch.long, device=device)}

    def step(self, frames: Frames, state: State, slots: Tensor) -> list[list[Token]]:
        place = frames.place
        logprob, label = self.head(frames.data).max(-1)
        label = label.masked_fill(~place.valid, self.blank) + 1
        before = torch.cat([state["label"][slots, None], label[:, :-1]], 1)
        state["label"][slots] = label[:, -1]
        row, column = ((label != before) & (label != self.blank + 1)).nonzero(as_tuple=True)
        found = [(row, place.index[row, column], label[row, column] - 1, logprob[row, column])]
        return _by_row(found, len(slots))


class Decoding(NamedTuple):
    """A chunk under way on a card: its frames projected for the joint network, [b, t, j], where its rows stand, and
    the state they go back to."""

    acoustic: Tensor
    search: Search
    state: State
    slots: Tensor


class RNNTGreedy(Greedy):
    """Greedy transducer decoding by label looping (Xu et al. 2024, arXiv 2406.06220), batched over rows.

    Each turn finds every row's next frame that is not blank, under the row's present prediction state, and only then
    runs the prediction network, for the rows that emitted. The joint network looks at `window` frames of a row in one
    call. After `max_symbols` tokens in one frame decoding moves on to the next frame.

    `restart`: the prediction network forgets what it has emitted when that many frames in a row brought no token, so
    that a new sentence after a pause begins as sentences did in training. None: never. The rule counts frames of the
    stream, so chunking cannot change it.

    On a card kernels do the same in a fixed number of turns, which `begin` launches without waiting and a CUDA graph
    can hold; `finish` reads what came of them, and lets rows that have not reached their end go on.

    State: the prediction network's `h` and `c` after the last token, its projected output `predicted`, and `last`: 0
    when the network has not run yet, -1 when it ran on nothing, else 1 + the last token's frame.
    """

    def __init__(
        self,
        prediction: Prediction,
        joint: Joint,
        *,
        max_symbols: int = 10,
        restart: int | None = None,
        window: int = 8,
    ) -> None:
        self.prediction, self.joint = prediction, joint
        self.max_symbols, self.restart, self.window = max_symbols, restart, window
        self.blank = prediction.vocabulary

    def init_state(
        self, slots: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        p = self.prediction
        return {
            "h": torch.zeros(slots, p.layers, p.dim, device=device, dtype=dtype),
            "c": torch.zeros(slots, p.layers, p.dim, device=device, dtype=dtype),
            "predicted": torch.zeros(slots, self.joint.pred.out_features, device=device, dtype=dtype),
            "last": torch.zeros(slots, dtype=torch.long, device=device),
        }

    def step(self, frames: Frames, state: State, slots: Tensor) -> list[list[Token]]:
        if launches(frames.data):
            return self.finish(self.begin(frames, state, slots))
        place, count = frames.place, frames.data.shape[1]
        acoustic = self.joint.enc(frames.data)
        now = {name: value[slots] for name, value in state.items()}
        at = (-place.start).clamp(min=0)  # the frame of the chunk that each row looks at next
        end = (place.stop - place.start).clamp(max=count)
        burst = torch.zeros_like(at)  # tokens emitted in that frame so far
        reach = torch.arange(min(self.window, count), device=at.device)
        found = []
        while len(rows := (at < end).nonzero()[:, 0]):
            limit = self._refresh(rows, place.start, at, end, now)
            ahead = at[rows, None] + reach
            score = self.joint.pair(acoustic[rows[:, None], ahead.clamp(max=count - 1)], now["predicted"][rows, None])
            best, token = score.max(-1)
            speaks = (token != self.blank) & (ahead < limit[:, None])
            emits, step = speaks.max(1)  # the first frame that is not blank, where there is one
            at[rows] = torch.where(emits, at[rows] + step, torch.minimum(at[rows] + len(reach), limit))
            burst[rows] = torch.where(emits, torch.where(step == 0, burst[rows], 0) + 1, 0)
            hit = emits.nonzero()[:, 0]
            if not len(hit):
                continue
            rows, step, token = rows[hit], step[hit], token[hit, step[hit]]
            frame = place.start[rows] + at[rows]
            found.append((rows, frame, token, best[hit, step] - score[hit, step].logsumexp(-1)))
            self._advance(rows, token, now)
            now["last"][rows] = frame + 1
            full = rows[burst[rows] == self.max_symbols]
            at[full] += 1
            burst[full] = 0
        for name, value in state.items():
            value[slots] = now[name]
        return _by_row(found, len(slots))

    @torch.no_grad()
    def begin(self, frames: Frames, state: State, slots: Tensor) -> Decoding:
        """Launch as many turns as a chunk usually takes, and write the state. Arguments as for `step`."""
        place, count = frames.place, frames.data.shape[1]
        acoustic = self.joint.enc(frames.data).contiguous()
        now = {name: value.index_select(0, slots) for name, value in state.items()}
        search = Search.of(place.start, place.stop, count, **now, turns=min(count, TURNS) + 2)
        decoding = Decoding(acoustic, search, state, slots)
        self._turn(decoding)
        return decoding

    def finish(self, decoding: Decoding) -> list[list[Token]]:
        """The tokens of each row, once all have reached the end of the chunk; the state is then that of the end."""
        out: list[list[Token]] = [[] for _ in decoding.slots]
        while True:
            found = decoding.search.report()
            for tokens, row in zip(out, found, strict=True):
                tokens += (Token(*fields) for fields in row.tokens)
            if not any(row.unfinished for row in found):
                return out
            self._turn(decoding)

    def _turn(self, decoding: Decoding) -> None:
        """Let every row go on for so many turns as the search has room for, and put where it stands into its slot."""
        acoustic, search, state, slots = decoding
        rules = Rules(min(self.window, acoustic.shape[1]), self.max_symbols, self.restart)
        transducer_greedy(acoustic, self._weights(), search, rules)
        for name, value in state.items():
            value.index_copy_(0, slots, getattr(search, name))

    def _weights(self) -> Weights:
        lstm, joint = self.prediction.lstm, self.joint
        cells = (
            [lstm.get_parameter(f"{name}_l{i}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            for i in range(lstm.num_layers)
        )
        return Weights(
            self.prediction.embed.weight,
            tuple(Cell(input, recurrent, bias + other) for input, recurrent, bias, other in cells),
            joint.pred.weight,
            joint.pred.bias,
            joint.out.weight,
            joint.out.bias,
        )

    def _refresh(self, rows: Tensor, start: Tensor, at: Tensor, end: Tensor, now: State) -> Tensor:
        """Start the prediction network where it has not run or must forget; returns up to which frame it then holds.

        rows: [r]; start, at, end: [b]; the answer: [r], in frames of the chunk.
        """
        last = now["last"]
        forget = end
        if self.restart is not None:
            forget = torch.where(last > 0, last + self.restart - start, end)
        stale = rows[(last[rows] == 0) | (at[rows] >= forget[rows])]
        if len(stale):
            now["h"][stale], now["c"][stale] = 0.0, 0.0
            self._advance(stale, torch.full_like(stale, self.blank), now)
            last[stale] = -1
            forget[stale] = end[stale]
        return torch.minimum(end, forget)[rows]

    def _advance(self, rows: Tensor, token: Tensor, now: State) -> None:
        """Run the prediction network on one token of each of `rows`."""
        y, now["h"][rows], now["c"][rows] = self.prediction.step(token, now["h"][rows], now["c"][rows])
        now["predicted"][rows] = self.joint.pred(y)


def _by_row(found: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]], rows: int) -> list[list[Token]]:
    """Tokens of each row from parts (row, frame, token, log-probability), with one copy from the device at the end."""
    out: list[list[Token]] = [[] for _ in range(rows)]
    if found:
        row, frame, token, logprob = (torch.cat(part).tolist() for part in zip(*found, strict=True))
        for r, *fields in zip(row, token, frame, logprob, strict=True):
            out[r].append(Token(*fields))
    return out
