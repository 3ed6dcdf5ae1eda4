"""Whisper's decoding: from encoder frames to hypotheses, chunk by chunk or a whole window at once, many streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from speech.asr.whisper import store
from speech.asr.whisper.beam import Beam, Beams, Chooser, Drawn, Greedy, Text
from speech.asr.whisper.decoder import Decoder
from speech.asr.whisper.guard import Guard
from speech.asr.whisper.passes import Cache, Passes, likelihoods
from speech.asr.whisper.rules import Rules
from speech.asr.whisper.tokenizer import UNKNOWN, Symbols
from speech.errors import SpeechError
from speech.streaming.frames import Frames
from speech.streaming.module import Device, State

Task = Literal["transcribe", "translate"]


@dataclass(frozen=True)
class Request:
    """What is asked of a decoding.

    language, task: what the decoder is told ("en"; "transcribe" or "translate"); "auto" is found out by what is heard
    first. beam: texts kept of each stream, 0 for greedy. length_penalty: exponent of (5 + n) / 6 by which the score of
    a beam's n ids is divided (Wu et al. 2016, arXiv 1609.08144), None for n itself. prompt: ids of text that came
    before. prefix: forced first ids of the text; they are not part of the hypothesis. timestamps: time symbols amid the
    text, whole windows only. suppress: ids that never come, None for Whisper's own (`rules.unspoken`); blank and end
    never come first, unless it is ().

    For chunks alone: look_back: how many last ids are checked again, and perhaps taken back, with a chunk. renew: so
    many last ids are fed again with a chunk, so that their keys and values tell of all that was heard, as they did in
    training; at least the look_back + 1 that the check asks; None for all ids, as the published code does, whose cost
    grows with the text. Those of older ids stay as they were made, when less had been heard. 24 is the least that
    changes nothing, see docs/architecture.md: with fewer, texts of a model may run away. passes: of the decoder with a
    chunk, at most. guard: against running away, None for none.

    compatible: decode chunks as the code does that was published with arXiv 2508.12301, without a guard: `renew` is
    None; ids once settled may be taken back, so that nothing counts as stable; where greedy takes something back, the
    chunk ends if the end would have come behind what was taken back; a beam's score leaves out the last id before the
    candidate; and what the last pass of a chunk added to the longest beams is dropped. That code's look-back may reach
    into the opening and spoil it; this never does.
    """

    language: str = "en"
    task: Task = "transcribe"
    beam: int = 0
    length_penalty: float | None = None
    prompt: tuple[int, ...] = ()
    prefix: tuple[int, ...] = ()
    timestamps: bool = False
    suppress: tuple[int, ...] | None = None
    look_back: int = 2
    renew: int | None = 24
    passes: int = 28
    guard: Guard | None = field(default_factory=Guard)
    compatible: bool = False

    @property
    def written(self) -> str:
        """The language of the text: what is translated is English."""
        return "en" if self.task == "translate" else self.language


@dataclass(frozen=True)
class Hypothesis:
    """What a stream, or the part of it since its last restart, or a window says as far as it was heard.

    ids: without prompt, prefix and end. frames: for each the stream's encoder frame that was the last one heard when it
    came. logprobs: for each its log-probability. stable: so many first ids will never be taken back. ended: the end
    came, or was made where the text repeated itself; with the next chunk it may go on. mean: log-probability an id, the
    end included. no_speech: the probability that nobody speaks, known of windows and of a text's first chunk. language:
    the code of what is spoken, where it was found out just now.
    """

    ids: tuple[int, ...] = ()
    frames: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    stable: int = 0
    ended: bool = False
    mean: float = 0.0
    no_speech: float | None = None
    language: str | None = None

    @classmethod
    def of(cls, data: dict[str, Any]) -> Hypothesis:
        """The one whose fields are these, lists in place of tuples, as JSON has them."""
        lists: dict[str, Any] = {name: tuple(data[name]) for name in ("ids", "frames", "logprobs")}
        return cls(**(data | lists))


class Search:
    """Decodes encoder frames.

    Raises SpeechError for a language or task that the model does not know, and for a request that cannot be met.
    """

    def __init__(self, decoder: Decoder, symbols: Symbols, request: Request = Request()) -> None:
        r = request
        if min(r.look_back, r.beam, r.renew or 0) < 0 or r.passes < 1:
            raise SpeechError(
                f"expected look_back, beam and renew of at least 0 and passes of at least 1, got {r.look_back}, "
                f"{r.beam}, {r.renew} and {r.passes}: correct them"
            )
        self.decoder, self.symbols, self.request = decoder, symbols, request
        self._texts = max(r.beam, 1)
        self._opening = self._opened(r.prompt, r.prefix)
        self._rules = Rules(symbols, r.suppress, r.timestamps)

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        """State for `slots` streams: zeros, slot axis first; it may lie in an `Arena`."""
        cache = self.decoder.init_state(slots * self._texts, device, dtype)
        return {
            "memory": self.decoder.init_memory(slots, device, dtype),
            "cache": {i: {k: x.unflatten(0, (slots, -1)) for k, x in layer.items()} for i, layer in cache.items()},
            "texts": self.init_texts(slots, device),
        }

    @torch.inference_mode()
    def step(self, frames: Frames, state: State, slots: Tensor) -> list[Hypothesis]:
        """Hear one chunk of the streams in `slots` ([b] int64) and decode. frames: [b, t, d], t up to `positions`.

        Returns every row's running hypothesis, empty until something was heard. State is updated in place. A chunk
        without frames inside the stream lets texts go on that the passes or the guard have cut short.

        Raises SpeechError where time symbols are asked.
        """
        r = self.request
        if r.timestamps:
            raise SpeechError("expected no time symbols in a stream, got timestamps=True: ask them of whole windows")
        self.decoder.extend(frames, state["memory"], slots)
        return self._decoded(state, slots, self._chooser(False), r.passes)

    @torch.inference_mode()
    def decode(
        self,
        frames: Frames,
        texts: State | None = None,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> list[Hypothesis]:
        """Decode whole windows to their end. frames: [b, t, d], t up to `positions`; no other state is kept.

        texts: [b, ...], those that `begin` began (default: the request's own). temperature: above 0, ids are drawn by
        the softmax of their logits divided by it, with chance from `generator` (default: one of seed 0); `logprobs` are
        without it. Raises SpeechError for a temperature below 0 or beside a beam.
        """
        x, chooser = frames.data, self._chooser(True) if temperature == 0 else self._drawn(temperature, generator)
        state, slots = self.init_state(len(x), x.device, x.dtype), torch.arange(len(x), device=x.device)
        if texts is not None:
            state["texts"] = texts
        self.decoder.extend(frames, state["memory"], slots)
        return self._decoded(state, slots, chooser, self.decoder.config.tokens // 2, whole=True)

    @torch.inference_mode()
    def languages(self, frames: Frames) -> list[dict[str, float]]:
        """What is spoken in whole windows [b, t, d]: probabilities of all languages, the likeliest first.

        Raises SpeechError for a model that knows English alone.
        """
        symbols = self.symbols
        if not symbols.multilingual:
            raise SpeechError("expected a multilingual model to tell a language, got an English one: take another")
        ids = torch.full((len(frames.data), 1), symbols.start, device=frames.data.device)
        rows = likelihoods(self.decoder(ids, frames)[:, -1], symbols).tolist()
        found = (zip(symbols.languages, row, strict=True) for row in rows)
        return [dict(sorted(pairs, key=lambda pair: -pair[1])) for pairs in found]

    def init_texts(self, slots: int, device: Device = None) -> State:
        """State of the texts of `slots` streams alone: zeros, slot axis first."""
        return store.init(slots, self._texts, self.decoder.config.tokens, device)

    @torch.inference_mode()
    def begin(
        self,
        texts: State,
        slot: int,
        prompt: Sequence[int] = (),
        prefix: Sequence[int] = (),
        language: str | None = None,
    ) -> None:
        """Begin a new text. prompt, prefix: as in `Request`, in place of the request's own; language: likewise, where
        it is not None.

        Raises SpeechError for a prefix that leaves no room.
        """
        store.begin(texts, slot, self._opened(prompt, prefix, language))

    @torch.inference_mode()
    def restart(
        self,
        state: State,
        slot: int,
        since: int,
        prompt: Sequence[int] = (),
        prefix: Sequence[int] = (),
        language: str | None = None,
    ) -> None:
        """As `begin`, in a stream that goes on: from its next chunk on only encoder frames from `since` on (index in
        the stream) are attended to.

        `state` may be that of a search which differs in its request's language, task and prompt alone.
        """
        self.begin(state["texts"], slot, prompt, prefix, language)
        state["memory"]["since"][slot] = since

    def _opened(self, prompt: Sequence[int], prefix: Sequence[int], language: str | None = None) -> list[int]:
        """The ids before the text; of a long prompt the last, so that half of the positions are left."""
        r, tokens = self.request, self.decoder.config.tokens
        before = [self.symbols.start_of_previous, *prompt[-(tokens // 2 - 1) :]] if prompt else []
        opening = [*before, *self.symbols.prompt(language or r.language, r.task, r.timestamps), *prefix]
        if len(opening) >= tokens:
            raise SpeechError(
                f"expected a prefix that leaves room in the decoder's {tokens} positions, got {len(prefix)} ids: cut it"
            )
        return opening

    def _chooser(self, whole: bool) -> Chooser:
        r, compatible = self.request, self.request.compatible and not whole
        guard = None if compatible else r.guard
        if r.beam:
            return Beam(r.beam, r.length_penalty, whole, self.symbols.end, guard, compatible)
        return Greedy(self.symbols.end, guard, compatible)

    def _drawn(self, temperature: float, generator: torch.Generator | None) -> Chooser:
        if temperature < 0 or self.request.beam:
            raise SpeechError(
                f"expected a temperature of at least 0, and above 0 no beam, got {temperature:g} beside a beam of "
                f"{self.request.beam}: correct them"
            )
        return Drawn(temperature, generator or torch.Generator().manual_seed(0), self.symbols.end, self.request.guard)

    def _decoded(
        self, state: State, slots: Tensor, chooser: Chooser, passes: int, whole: bool = False
    ) -> list[Hypothesis]:
        """Let the texts of the streams in `slots` go on for so many passes of the decoder at most."""
        memory, texts, compatible = state["memory"], state["texts"], chooser.compatible
        heard, since = memory["heard"][slots], memory["since"][slots]
        streams = store.read(texts, slots, self._opening, (heard - 1).tolist())
        for beams, frames in zip(streams, (heard - since).tolist(), strict=True):
            self._set_out(beams, frames, chooser)
        with Cache(state["cache"], slots) as cache:
            feed = Passes(self.decoder, self._rules, memory, slots, cache, chooser)
            waiting = {r: b for r, b in enumerate(streams) if not b.done and UNKNOWN in b.texts[0].ids}
            if waiting:
                feed.find_out(waiting)
            for i in range(passes):
                going = {r: beams for r, beams in enumerate(streams) if not beams.done}
                if not going:
                    break
                scores, sources = feed(going), {}
                for r, beams in going.items():
                    if i == 0 and not whole:
                        chooser.check(beams, scores[r], self.request.look_back)
                    sources[r] = chooser.choose(beams, scores[r])
                    beams.done |= max(len(text.ids) for text in beams.texts) >= beams.limit
                cache.reorder(sources)
        for beams in streams:
            if compatible:
                beams.drop()
            else:
                beams.stable = beams.settled(self.request.look_back)
        store.write(texts, slots, streams)
        return [_hypothesis(beams, chooser.best(beams), whole) for beams in streams]

    def _set_out(self, beams: Beams, heard: int, chooser: Chooser) -> None:
        """What the first pass over the texts of a stream is to do; heard: frames that they may attend to."""
        r, first = self.request, beams.texts[0]
        longest = max(len(text.ids) for text in beams.texts)
        again = None if chooser.compatible or r.renew is None else max(r.renew, r.look_back + 1)
        everything = chooser.compatible or not first.fed
        beams.asked = longest - first.ids.index(self.symbols.start) if everything else r.look_back + 1
        for text in beams.texts:
            text.fed = 0 if again is None else max(min(text.fed, len(text.ids) - again), 0)
        beams.limit = self.decoder.config.tokens
        if chooser.guard:
            beams.limit = min(beams.limit, first.begin + chooser.guard.most(heard * self.decoder.config.frame))
        beams.done = heard <= 0 or longest >= beams.limit


def _hypothesis(beams: Beams, text: Text, whole: bool) -> Hypothesis:
    """A text as it is told."""
    said, logprobs = text.text, text.logprobs[text.begin :]
    told = [*logprobs, *(() if text.final is None else (text.final,))]
    return Hypothesis(
        tuple(said),
        tuple(text.frames[text.begin :]),
        tuple(logprobs),
        len(said) if whole else beams.stable,
        text.ended,
        sum(told) / max(len(told), 1),
        beams.no_speech,
        beams.language,
    )
