"""One stream of the flow: tokens as they come, mel frames as soon as they are ready."""

from __future__ import annotations

import struct

import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.flow.layers import Context
from speech.flow.model import Flow
from speech.flow.solver import Sampling
from speech.streaming.driver import Driver
from speech.streaming.module import Sequential

HEADER = struct.Struct("<4sIqQ")  # magic, version, mel frames made beyond the prompt, bytes of the look-ahead
MAGIC, VERSION = b"SPFL", 1


class FlowStream:
    """Tokens to mel frames for one voice. speaker: [d]; prompt_tokens: [p]; prompt: [rate * p, mel].

    The prompt runs through the network once, when the stream is made, and its frames are dropped; `snapshot` then keeps
    the voice, and `restore` begins a sentence with it. Tokens go in chunks of `context.chunk`, counted from the
    prompt's first; mel frames come when a chunk and its look-ahead are there. So the first chunk waits for fewer tokens
    where the prompt's length is no multiple of a chunk's.

    Raises SpeechError for a context that has no stream and for a prompt whose tokens and frames do not match.
    """

    def __init__(
        self,
        flow: Flow,
        speaker: Tensor,
        prompt_tokens: Tensor | None = None,
        prompt: Tensor | None = None,
        *,
        context: Context | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        context = context or flow.config.context
        if not context.streams or context.chunk is None:
            raise SpeechError("expected a context with a chunk and a bounded left, got one of whole signals: set both")
        self.flow, self.speaker = flow, speaker
        tokens = torch.zeros(0, dtype=torch.long) if prompt_tokens is None else prompt_tokens
        frames = 0 if prompt is None else len(prompt)
        rate = flow.config.rate
        if frames != rate * len(tokens):
            raise SpeechError(
                f"expected {rate * len(tokens)} mel frames for {len(tokens)} tokens of the prompt, got {frames}: cut it"
            )
        body = Sequential(encoder=flow.encoder(context), solver=flow.solver(context, sampling))
        # Two drivers: what looks ahead runs token by token, so that no chunk of the body is spent before the stream.
        self._ahead = Driver(flow.ahead(), 1, shape=(flow.width,), outputs=(flow.width,))
        self._body = Driver(body, context.chunk, shape=(flow.width,), outputs=(flow.config.mel,))
        self._made = -frames
        self._push(tokens, prompt)

    @property
    def received(self) -> int:
        """Tokens that have come, the prompt's included."""
        return self._ahead.received

    def push(self, tokens: Tensor) -> Tensor:
        """Take any number of tokens [t]; returns the mel frames that they complete, [t', mel], perhaps none."""
        return self._push(tokens, None)

    def flush(self) -> Tensor:
        """End the stream; returns the rest: `rate` frames for each token in all."""
        with torch.inference_mode():
            return self._kept(torch.cat([self._body.push(self._ahead.flush()), self._body.flush()]))

    def _push(self, tokens: Tensor, prompt: Tensor | None) -> Tensor:
        with torch.inference_mode():
            given = None if prompt is None else prompt[None]
            home = self.flow.embedding.weight.device
            frames = self.flow.conditioned(tokens[None].to(home), self.speaker[None], given)[0]
            return self._kept(self._body.push(self._ahead.push(frames)))

    def _kept(self, mel: Tensor) -> Tensor:
        """Of the frames just made, those behind the prompt."""
        kept = mel[max(-self._made, 0) :]
        self._made += len(mel)
        return kept

    def snapshot(self) -> bytes:
        """The stream as it stands, as bytes."""
        ahead, body = self._ahead.snapshot(), self._body.snapshot()
        return HEADER.pack(MAGIC, VERSION, self._made, len(ahead)) + ahead + body

    def restore(self, data: bytes) -> None:
        """Go on where `snapshot` was taken, by a stream of the same voice, context and sampling. Raises SpeechError."""
        if len(data) < HEADER.size or data[:4] != MAGIC:
            raise SpeechError(
                f"expected the snapshot of a flow's stream, got {len(data)} other bytes: pass what it gave"
            )
        _, version, made, size = HEADER.unpack_from(data)
        if version != VERSION:
            raise SpeechError(f"expected a snapshot of version {VERSION}, got {version}: take it with this release")
        body = HEADER.size + size
        self._ahead.restore(data[HEADER.size : body])
        self._body.restore(data[body:])
        self._made = made
