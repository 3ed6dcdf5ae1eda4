"""One stream of the flow: tokens as they come, mel frames as soon as they are ready."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.flow.layers import Context
from speech.flow.model import Flow
from speech.flow.solver import Sampling
from speech.streaming.driver import Driver, Kept
from speech.streaming.lane import Asking, Lane, Seat, alone
from speech.streaming.module import Sequential, Streaming


@dataclass(frozen=True)
class FlowSetup:
    """What streams of a flow run, made once for all of them, of the weights as they are then.

    ahead: what looks ahead, `Flow.ahead`. Its first step takes `opening` tokens, a chunk and those beyond it that it
    sees, every other one a chunk, so that each brings the body exactly one. body: conditions and mel frames, `chunk`
    tokens at a time.
    """

    flow: Flow
    ahead: Streaming
    body: Streaming
    chunk: int

    @classmethod
    def of(cls, flow: Flow, context: Context | None = None, sampling: Sampling | None = None) -> FlowSetup:
        """context, sampling: the flow's own by default. Raises SpeechError for a context that has no stream."""
        context = context or flow.config.context
        if not context.streams or context.chunk is None:
            raise SpeechError("expected a context with a chunk and a bounded left, got one of whole signals: set both")
        body = Sequential(encoder=flow.encoder(context), solver=flow.solver(context, sampling))
        return cls(flow, flow.ahead(), body, context.chunk)

    @property
    def opening(self) -> int:
        """Tokens that must have come before the first mel frames."""
        return self.chunk + self.ahead.look_ahead

    def lanes(self, slots: int = 1) -> FlowLanes:
        """Room for so many streams."""
        return FlowLanes(Lane(self.ahead, slots), Lane(self.body, slots))


class FlowLanes(NamedTuple):
    """Where streams of one setup step."""

    ahead: Lane
    body: Lane


class FlowKept(NamedTuple):
    """How a stream of the flow stands: its two parts, and the mel frames made beyond the prompt."""

    ahead: Kept
    body: Kept
    made: int


class FlowStream:
    """Tokens to mel frames for one voice. speaker: [d]. lanes: where it steps (default: of its own).

    Tokens go in chunks of `setup.chunk`, counted from the prompt's first, where there is a prompt; mel frames come when
    a chunk and its look-ahead are there. So the first chunk waits for fewer tokens where the prompt's length is no
    multiple of a chunk's.
    """

    def __init__(self, setup: FlowSetup, speaker: Tensor, lanes: FlowLanes | None = None) -> None:
        self.flow, self.speaker, lanes = setup.flow, speaker, lanes or setup.lanes()
        width, mel = (self.flow.width,), (self.flow.config.mel,)
        with ExitStack() as undo:
            self._ahead = Driver(
                setup.ahead, setup.chunk, opening=setup.opening, shape=width, outputs=width, lane=lanes.ahead
            )
            undo.enter_context(closing(self._ahead))
            self._body = Driver(setup.body, setup.chunk, shape=width, outputs=mel, lane=lanes.body)
            undo.pop_all()
        self._made = 0

    @property
    def seats(self) -> Sequence[Seat]:
        """Where all that the networks know of the stream lies."""
        return [self._ahead.seat, self._body.seat]

    @property
    def received(self) -> int:
        """Tokens that have come, the prompt's included."""
        return self._ahead.received

    def reset(self) -> None:
        """Begin another stream."""
        self._ahead.reset()
        self._body.reset()
        self._made = 0

    def close(self) -> None:
        """Give the seats back."""
        for seat in self.seats:
            seat.close()

    def prompt(self, tokens: Tensor, mel: Tensor) -> None:
        """Take an example of the voice before all other tokens: tokens [p], mel frames [rate * p, mel].

        It runs through the network once, and its frames are dropped; `keep` then keeps the voice, and `resume`
        begins a sentence with it. Raises SpeechError for tokens and frames that do not match, and after other tokens.
        """
        alone(self.prompting(tokens, mel))

    def prompting(self, tokens: Tensor, mel: Tensor) -> Asking[None]:
        """As `prompt`, step by step."""
        frames = self.flow.config.rate * len(tokens)
        if len(mel) != frames:
            raise SpeechError(
                f"expected {frames} mel frames for {len(tokens)} tokens of the prompt, got {len(mel)}: cut it"
            )
        if self.received:
            raise SpeechError(f"expected the prompt first, got it behind {self.received} tokens: call reset() before")
        self._made = -frames
        yield from self._taking(tokens, mel)

    def push(self, tokens: Tensor) -> Tensor:
        """Take any number of tokens [t]; returns the mel frames that they complete, [t', mel], perhaps none."""
        return alone(self.pushing(tokens))

    def pushing(self, tokens: Tensor) -> Asking[Tensor]:
        """As `push`, step by step."""
        return self._taking(tokens, None)

    def flush(self) -> Tensor:
        """End the stream; returns the rest: `rate` frames for each token in all."""
        return alone(self.flushing())

    def flushing(self) -> Asking[Tensor]:
        """As `flush`, step by step."""
        mel = yield from self._body.pushing((yield from self._ahead.flushing()))
        return self._kept(torch.cat([mel, (yield from self._body.flushing())]))

    def _taking(self, tokens: Tensor, prompt: Tensor | None) -> Asking[Tensor]:
        given = None if prompt is None else prompt[None]
        home = self.flow.embedding.weight.device
        frames = self.flow.conditioned(tokens[None].to(home), self.speaker[None], given)[0]
        return self._kept((yield from self._body.pushing((yield from self._ahead.pushing(frames)))))

    def _kept(self, mel: Tensor) -> Tensor:
        """Of the frames just made, those behind the prompt."""
        kept = mel[max(-self._made, 0) :]
        self._made += len(mel)
        return kept

    def keep(self) -> FlowKept:
        """The stream as it stands, on the device where it runs."""
        return FlowKept(self._ahead.keep(), self._body.keep(), self._made)

    def resume(self, kept: FlowKept) -> None:
        """Go on where `keep` was called, in a stream of the same setup and voice; any number of them may."""
        self._ahead.resume(kept.ahead)
        self._body.resume(kept.body)
        self._made = kept.made
