"""Streams of speech codes: scripts, samplers and decoder state brought together, one decoder pass at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch

from speech.errors import SpeechError
from speech.streaming.arena import Arena
from speech.tts.layout import Row, Script
from speech.tts.lm import TextSpeechLM
from speech.tts.sampling import Sampler


class Generation:
    """One stream of speech codes, whose text may come while it speaks.

    lm: in evaluation mode. script: the stream's sequence, from a layout of the model's vocabulary. arena: the decoder
    state of all streams that shall advance together (`Arena(lm.decoder, slots)`; default: one of its own), in which it
    takes a slot. Close it to give the slot back.
    """

    def __init__(self, lm: TextSpeechLM, script: Script, sampler: Sampler, arena: Arena | None = None) -> None:
        if script.vocabulary != lm.config.vocabulary:
            raise SpeechError("expected a layout of the model's own vocabulary, got one of another: make it anew")
        self.lm, self.script, self.sampler = lm, script, sampler
        self.arena = Arena(lm.decoder, 1) if arena is None else arena
        self.slot = self.arena.open()
        self.position = 0  # rows that the decoder has taken

    def push(self, text: Iterable[int]) -> None:
        """Take more text ids. Raises SpeechError after `end`, and for ids that the vocabulary has not."""
        self.script.push(text)

    def end(self) -> None:
        """No more text will come."""
        self.script.end()

    def close(self) -> None:
        """Give the slot back; what is not said yet stays unsaid."""
        self.arena.close(self.slot)

    @property
    def done(self) -> bool:
        """Whether all that there was to say is said, or the stream broke off."""
        return self.script.done

    def codes(self) -> Iterator[int]:
        """The codes that the text so far allows, one at a time. Raises SpeechError when the stream breaks off."""
        while self.script.ready:
            if (code := advance([self])[0]) is not None:
                yield code
        if self.script.failure:
            raise SpeechError(self.script.failure)


@torch.inference_mode()
def advance(streams: Sequence[Generation]) -> list[int | None]:
    """One decoder pass for every stream that is ready; all are of one model and arena.

    Streams that feed equally many rows (one, but at a block's beginning) share a pass, and what a stream says does not
    depend on its neighbours. Returns each stream's code, None where none came: it waits, is done, broke off
    (`script.failure`) or passed on to the next block.
    """
    out: list[int | None] = [None] * len(streams)
    groups: dict[int, list[tuple[int, list[Row]]]] = {}
    for i, stream in enumerate(streams):
        if rows := stream.script.feed():
            groups.setdefault(len(rows), []).append((i, rows))
    for count, group in groups.items():
        now = [streams[i] for i, _ in group]
        arena, device = now[0].arena, now[0].arena.buffer.device
        rows = torch.tensor([rows for _, rows in group], device=device)
        start = torch.tensor([stream.position for stream in now], device=device)
        slots = torch.tensor([stream.slot for stream in now], device=device)
        scores = now[0].lm.step(rows, start, arena.state, slots).float().cpu()
        for (i, _), stream, row in zip(group, now, scores, strict=True):
            stream.position += count
            script = stream.script
            out[i] = script.take(stream.sampler(script.admit(row), script.history, script.apart))
    return out
