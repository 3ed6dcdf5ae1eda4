"""The running texts of streams as tensors: a state tree of zeros at the start, slot axis first."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from speech.asr.whisper.beam import Beams, Text
from speech.streaming.module import Device, State

LISTS = ("ids", "frames", "logits", "logprobs")
"""What there is of every id, in a `Text` and in the state."""


def init(slots: int, texts: int, tokens: int, device: Device = None) -> State:
    """State for `slots` streams of so many texts of at most `tokens` ids; one without ids has not begun."""
    state: State = {name: torch.zeros(slots, dtype=torch.long, device=device) for name in ("begin", "stable")}
    state |= {name: torch.zeros(slots, texts, dtype=torch.long, device=device) for name in ("count", "fed")}
    kinds = dict(zip(LISTS, (torch.long, torch.long, torch.float32, torch.float32), strict=True))
    return state | {n: torch.zeros(slots, texts, tokens, dtype=k, device=device) for n, k in kinds.items()}


def begin(state: State, slot: int, opening: Sequence[int]) -> None:
    """Let the stream in `slot` begin a text after `opening`."""
    for name in ("stable", "fed", *LISTS[1:]):
        state[name][slot] = 0
    state["begin"][slot] = state["count"][slot] = len(opening)
    state["ids"][slot, :, : len(opening)] = torch.tensor(opening, device=state["ids"].device)


def read(state: State, slots: Tensor, opening: Sequence[int], last: Sequence[int]) -> list[Beams]:
    """The texts of the streams in `slots`; those that have not begun begin after `opening`. last: their last frames."""
    counts, fed = (state[name][slots].tolist() for name in ("count", "fed"))
    begins, stables = (state[name][slots].tolist() for name in ("begin", "stable"))
    longest = max(map(max, counts))
    ids, frames, logits, logprobs = (state[name][slots, :, :longest].tolist() for name in LISTS)
    streams = []
    for r, frame in enumerate(last):
        texts = []
        for j, n in enumerate(counts[r]):
            parts = (part[r][j][:n] for part in (ids, frames, logits, logprobs))
            texts.append(Text(begins[r], *parts, fed=fed[r][j]) if n else Text.begun(opening))
        streams.append(Beams(texts, frame, stables[r]))
    return streams


def write(state: State, slots: Tensor, streams: Sequence[Beams]) -> None:
    """Keep the texts of the streams in `slots`."""

    def put(name: str, values: list) -> None:
        state[name][slots] = torch.tensor(values, dtype=state[name].dtype, device=slots.device)

    put("begin", [beams.texts[0].begin for beams in streams])
    put("stable", [beams.stable for beams in streams])
    put("count", [[len(text.ids) for text in beams.texts] for beams in streams])
    put("fed", [[text.fed for text in beams.texts] for beams in streams])
    longest = max(len(text.ids) for beams in streams for text in beams.texts)
    for name in LISTS:
        rows = [[getattr(text, name) for text in beams.texts] for beams in streams]
        padded = [[values + [0] * (longest - len(values)) for values in row] for row in rows]
        state[name][slots, :, :longest] = torch.tensor(padded, dtype=state[name].dtype, device=slots.device)
