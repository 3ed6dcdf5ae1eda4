"""From text as it arrives to pieces that are ready to be spoken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from speech.tts.text import clean
from speech.tts.text.events import Event, Pause, Phonemes, SayAs, Substitute, Text
from speech.tts.text.normalise import Normaliser, Reading, join, read
from speech.tts.text.phonemes import Phonemiser, Word, phonemes
from speech.tts.text.say_as import say_as
from speech.tts.text.split import INLINE, USUAL, SplitConfig, Splitter
from speech.tts.text.ssml import Markup


@dataclass(frozen=True)
class Span:
    """A stretch of a piece: what is written, what is said, and its phonemes where markup gives them."""

    written: str
    spoken: str
    phonemes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Piece:
    """What is spoken in one go, about a sentence: spans, speed (1 is usual) and the silence after it in seconds.

    A piece without spans is silence only.
    """

    spans: tuple[Span, ...]
    rate: float = 1.0
    pause: float = 0.0

    @property
    def written(self) -> str:
        """The text of the piece as it came, cleaned."""
        return "".join(span.written for span in self.spans).strip()

    @property
    def spoken(self) -> str:
        """The words to say."""
        return join([Reading(span.written, span.spoken) for span in self.spans])

    def words(self, by: Phonemiser) -> list[Word]:
        """The words with their phonemes, in order; pronunciations given by markup take precedence."""
        words: list[Word] = []
        plain = ""
        for span in (*self.spans, Span("", "", ())):
            if span.phonemes is None:
                plain += span.spoken
                continue
            lead = plain.lstrip()
            if words and lead[:1] in tuple(",.?!;:") and not words[-1].pause:
                words[-1] = replace(words[-1], pause=lead[0])
            words += phonemes(plain, by)
            plain = ""
            if span.phonemes:
                words.append(Word(span.written, span.phonemes))
        return words


class FrontEnd:
    """Pieces of one stream of text: `push` what arrives, then `flush`; `warnings` tells what was odd about the markup.

    The pieces do not depend on how the text was cut. markup: read tags (`ssml`), else "<" is a sign like any other.
    """

    def __init__(self, config: SplitConfig = USUAL, normaliser: Normaliser = read, markup: bool = True) -> None:
        self.normaliser = normaliser
        self._markup = Markup() if markup else None
        self._splitter = Splitter(config)
        self._reset()

    def _reset(self) -> None:
        self._rate = 1.0
        self._inline: list[Span] = []

    @property
    def warnings(self) -> list[str]:
        """One sentence for each piece of markup that was not understood."""
        return self._markup.warnings if self._markup else []

    def push(self, text: str) -> list[Piece]:
        """Take in the next characters; the pieces that are certain now."""
        return list(self._speak(self._markup.push(text) if self._markup else [Text(text)]))

    def flush(self) -> list[Piece]:
        """The stream has ended: the pieces that are left. The front end is then as new, but for `warnings`."""
        pieces = list(self._speak(self._markup.flush() if self._markup else []))
        pieces += self._pieces(self._splitter.flush())
        self._reset()
        return pieces

    def _speak(self, events: Sequence[Event]) -> Iterator[Piece]:
        for event in events:
            if isinstance(event, Pause):
                yield from self._pause(event.seconds)
                continue
            if event.rate != self._rate:
                yield from self._pieces(self._splitter.cut())
                self._rate = event.rate
            text = clean.strip(event.text) if isinstance(event, Text) else self._mark(event)
            yield from self._pieces(self._splitter.push(text))

    def _pause(self, seconds: float) -> Iterator[Piece]:
        """Silence belongs to the piece before it, where that is still at hand."""
        pieces = self._pieces(self._splitter.cut())
        if pieces:
            pieces[-1] = replace(pieces[-1], pause=seconds)
        elif seconds:
            pieces = [Piece((), self._rate, seconds)]
        yield from pieces

    def _mark(self, event: SayAs | Phonemes | Substitute) -> str:
        """Keep an inline element; the character of `INLINE` that stands for it. Cleaning removes those of the user."""
        written = clean.clean(event.text)
        if isinstance(event, Phonemes):
            span = Span(written, written, event.phonemes)
        elif isinstance(event, SayAs):
            span = Span(written, say_as(event.text, event.kind, event.format))
        else:
            span = Span(written, join(self.normaliser(clean.clean(event.alias))))
        if not clean.speakable(span.spoken):
            return ""
        self._inline.append(span)
        return chr(INLINE[(len(self._inline) - 1) % len(INLINE)])

    def _pieces(self, texts: Sequence[str]) -> list[Piece]:
        return [Piece(tuple(self._spans(clean.compose(text))), self._rate) for text in texts]

    def _spans(self, text: str) -> Iterator[Span]:
        for reading in self.normaliser(text):
            mark = ord(reading.written[0]) - INLINE[0]
            if 0 <= mark < len(INLINE):
                span = self._inline[mark + (len(self._inline) - 1 - mark) // len(INLINE) * len(INLINE)]
                after = reading.written[1:]
                yield Span(span.written + after, span.spoken + after, span.phonemes)
            else:
                yield Span(reading.written, reading.spoken)


def pieces(
    text: str,
    config: SplitConfig = USUAL,
    normaliser: Normaliser = read,
    markup: bool = True,
) -> list[Piece]:
    """The pieces of a whole text."""
    front_end = FrontEnd(config, normaliser, markup)
    return front_end.push(text) + front_end.flush()
