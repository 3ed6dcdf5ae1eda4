"""Speech in an engine: many streams of text, stepped together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from speech.errors import SpeechError
from speech.streaming.engine.host import Regular, Yielding
from speech.streaming.lane import Seat
from speech.streaming.timing import phase_for
from speech.tts.session import Lanes, Session, Setup

BACKLOG = 100_000
"""Characters of text that may wait in a stream: two hours of speech."""

FILLS = 0.5
"""For a code where symbols stand beside codes: each symbol takes one fill, and two codes or more."""


class HostedSpeech:
    """A stream of pieces of text, cut anywhere, to `Speech`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._ended = False

    @property
    def seats(self) -> Sequence[Seat]:
        return self.session.seats

    @property
    def lead(self) -> float:
        return self.session.samples / self.session.setup.sample_rate

    @property
    def warnings(self) -> list[str]:
        """One sentence for each thing in the text so far that was not understood."""
        return self.session.warnings

    def taken(self, item: str) -> str:
        if self._ended:
            raise SpeechError("expected text before the end of the stream, got some after it: begin another stream")
        if not isinstance(item, str):
            raise SpeechError(f"expected pieces of text, got {type(item).__name__}: pass strings")
        return item

    def feeding(self, item: str) -> Yielding:
        return self.session.feeding(item)

    def ending(self) -> Yielding:
        self._ended = True
        return self.session.ending()

    def close(self) -> None:
        self.session.cancelled.set()
        self.session.close()


class SynthesiserHost:
    """Room for streams of one synthesiser.

    begin: opens a session with the options of `Synthesiser.stream` in `lanes`, which are of `setup`. more: steps that
    its streams take besides.
    """

    backlog = BACKLOG

    def __init__(self, begin: Callable[..., Session], setup: Setup, lanes: Lanes, more: Sequence[Regular] = ()) -> None:
        self._begin = begin
        self.seconds = setup.acoustics.setup.chunk * setup.acoustics.code_seconds
        self.regular = [*regular(setup, lanes), *more]

    def open(
        self, *, voice: str | None = None, speed: float = 1.0, seed: int | None = None, markup: bool = True
    ) -> HostedSpeech:
        """voice: a name of the synthesiser's (default: its default). speed: 0.25 to 4.

        seed: the same one says the same text in the same way. markup: read SSML tags.
        """
        return HostedSpeech(self._begin(voice, speed=speed, seed=seed, markup=markup))


def regular(setup: Setup, lanes: Lanes) -> Iterator[Regular]:
    """The steps of a stream at speed 1: an id and the guesses before it, a chunk of codes twice, a chunk of mel."""
    acoustics, sampling, lm = setup.acoustics, setup.sampling, setup.lm.config
    codes, flow, vocoder = 1 / acoustics.code_seconds, acoustics.setup, acoustics.vocoder
    ids = codes * (1 if lm.vocabulary.ahead is None else 1 + FILLS)
    rows = 1 + (sampling.drafts if sampling.accept is None else 0)
    decoder, *heads = lanes.codes
    yield Regular(decoder, rows, 0, (lm.vocabulary.columns,), torch.long, ids, "language model")
    for i, head in enumerate(heads, 1):
        yield Regular(head, 2, 0, (lm.decoder.dim,), head.dtype, ids, f"draft head {i}")
    (ahead, body), width = lanes.sound.flow, (flow.flow.width,)
    chunks = codes / flow.chunk
    yield Regular(ahead, flow.chunk, phase_for(flow.ahead), width, ahead.dtype, chunks, "flow, looking ahead")
    yield Regular(body, flow.chunk, phase_for(flow.body), width, body.dtype, chunks, "flow")
    last, (_, frames), shape = lanes.sound.vocoder, acoustics.chunks(), (vocoder.config.features,)
    yield Regular(last, frames, phase_for(vocoder), shape, last.dtype, chunks, "vocoder")
