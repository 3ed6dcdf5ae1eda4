"""The Whisper recogniser: files and arrays to transcripts, live samples to events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch.nn.functional import pad

from speech.asr.endpoint import EndpointConfig
from speech.asr.events import Transcript
from speech.asr.host import regular
from speech.asr.live import LiveStream
from speech.asr.recogniser import find_device
from speech.asr.recording import Source, opened, transcribed
from speech.asr.whisper.config import Context
from speech.asr.whisper.fallback import Fallback
from speech.asr.whisper.gate import beginning
from speech.asr.whisper.host import Room, WhisperHost
from speech.asr.whisper.longform import LongFormStream
from speech.asr.whisper.model import Whisper
from speech.asr.whisper.search import Request, Search, Task
from speech.asr.whisper.stream import Setup, WhisperStream
from speech.asr.whisper.text import Text
from speech.asr.whisper.tokenizer import AUTO, Symbols, WhisperTokenizer
from speech.asr.whisper.window import AgreementStream, Windows
from speech.audio.file import Channel, Pcm
from speech.audio.resample import Resampler
from speech.audio.vad import VoiceActivity
from speech.errors import SpeechError
from speech.streaming.arena import home_of
from speech.streaming.engine.host import Regular
from speech.streaming.frames import Frames
from speech.streaming.module import Sequential

LOOKS = (100, 10_000)
"""Milliseconds between two looks of a Whisper that was not trained to stream, the least and the most."""

LOOK = 1000


class WhisperRecogniser:
    """A Whisper with its tokenizer, ready to recognise. It holds nothing of a stream: open as many as you like.

    model: is moved to `device` and set to evaluation. chunk: milliseconds after which a live stream decodes: one of
    `chunks` (default: the first), or of a model that was not trained to stream any from 100 to 10000 (default: 1000).
    language: what is spoken, a code such as "en", or "auto": found out by the first window of a recording, or the first
    utterance of a live stream (default: "auto", but "en" for models that know English alone or were trained to stream,
    mostly in one language). task: "transcribe" or "translate" (into English). beam: hypotheses that are kept, 0 for
    greedy decoding. prompt: text as if it had come before, with names and spellings that may come; every utterance of a
    model that was trained to stream begins with it, the others forget it as more is said. aligned: word times of
    finished utterances by cross-attention, slower and closer than by when words came; of a model that was not trained
    to stream always so. endpoint: when an utterance ends. fallback: when a window of a recording is decoded again, by a
    model that was not trained to stream. Raises SpeechError for what the model or the machine does not have.
    """

    def __init__(
        self,
        model: Whisper,
        tokenizer: WhisperTokenizer,
        *,
        chunk: int | None = None,
        language: str | None = None,
        task: Task = "transcribe",
        beam: int = 0,
        prompt: str | None = None,
        aligned: bool = False,
        device: str | torch.device = "cpu",
        endpoint: EndpointConfig | None = None,
        fallback: Fallback | None = None,
    ) -> None:
        if tokenizer.symbols.vocabulary != model.config.vocabulary:
            raise SpeechError(
                f"expected a tokenizer for {model.config.vocabulary} ids, got one for {tokenizer.symbols.vocabulary}: "
                "use the model's own"
            )
        self.model, self.tokenizer = model.to(find_device(device)).eval(), tokenizer
        self.endpoint, self.fallback, self.aligned = endpoint or EndpointConfig(), fallback or Fallback(), aligned
        self._pipelines: dict[Context, Sequential] = {}
        self.request = self._request(Request(language="en" if self.causal else AUTO), language, task, beam, prompt)
        self.chunk = self._chunk(chunk)

    @property
    def sample_rate(self) -> int:
        """The model's own sample rate in Hz; other rates are resampled."""
        return self.model.config.mel.sample_rate

    @property
    def causal(self) -> bool:
        """Whether the model was trained to stream; the others hear windows of 30 s whole, and stream more slowly."""
        return self.model.config.causal

    @property
    def chunks(self) -> list[int]:
        """Milliseconds of the chunks that the model was trained to stream with, its default first; perhaps none."""
        return [context.milliseconds for context in self.model.config.contexts] if self.causal else []

    @property
    def languages(self) -> list[str]:
        """Codes of the languages that the model knows."""
        symbols = Symbols(self.model.config.vocabulary)
        return list(symbols.languages) if symbols.multilingual else ["en"]

    def transcribe(
        self,
        source: Source,
        sample_rate: int | None = None,
        *,
        chunk: int | None = None,
        language: str | None = None,
        task: Task | None = None,
        beam: int | None = None,
        prompt: str | None = None,
        pcm: Pcm | None = None,
        channel: Channel = None,
        progress: Callable[[float], None] | None = None,
        generator: torch.Generator | None = None,
    ) -> Transcript:
        """Recognise a whole file ("-": standard input), or samples [n] (float32 or int16) at `sample_rate` Hz.

        A causal model hears it as a stream in its chunks; the others in windows of 30 s, each from where the last
        one's time symbols ended. chunk, language, task, beam, prompt: as for the recogniser. pcm: how headerless
        samples are to be read. channel: which one of a file to hear. progress: called with the seconds done so far.
        generator: of the chance with which doubtful windows are decoded again, see `Fallback` (default: the same for
        every recording). Raises SpeechError for what cannot be read or is not samples, `Interrupted` for what breaks
        off midway.
        """
        request, milliseconds = self._request(self.request, language, task, beam, prompt), self._chunk(chunk)

        def stream(rate: int) -> LiveStream:
            if self.causal:
                return WhisperStream(self._setup(request, milliseconds), rate)
            return LongFormStream(self._windows(request), rate, self.fallback, generator)

        return transcribed(source, sample_rate, stream, self.sample_rate, pcm=pcm, channel=channel, progress=progress)

    @torch.inference_mode()
    def detect_language(
        self, source: Source, sample_rate: int | None = None, *, pcm: Pcm | None = None, channel: Channel = None
    ) -> dict[str, float]:
        """Probabilities of the languages that the model knows, the likeliest first, by the first 30 s with voice.

        Arguments as for `transcribe`. Raises SpeechError for what cannot be read or is not samples, and where nobody
        speaks.
        """
        if not self.tokenizer.symbols.multilingual:
            return {"en": 1.0}
        rate, parts = opened(source, sample_rate, self.sample_rate, pcm=pcm, channel=channel)
        resampler, windows = Resampler(rate, self.sample_rate), self._windows(self.request)
        samples = torch.from_numpy(beginning(map(resampler.push, parts), windows.size))
        pipeline = self._pipeline(self.model.config.context(self.chunk)) if self.causal else windows.pipeline
        if not self.causal:
            samples = pad(samples, (0, windows.size - len(samples)))
        heard = pipeline(Frames.whole(samples[None].to(home_of(pipeline)[0])))
        return windows.search.languages(heard)[0]

    def stream(
        self,
        sample_rate: int,
        *,
        chunk: int | None = None,
        language: str | None = None,
        task: Task | None = None,
        beam: int | None = None,
        prompt: str | None = None,
        voice: VoiceActivity | None = None,
    ) -> LiveStream:
        """Open a live stream of samples at `sample_rate` Hz.

        chunk, language, task, beam, prompt: as for the recogniser. voice: watch for voice with this, which serves one
        stream at a time; by default the level of the sound says where there is something to decode.
        """
        request, milliseconds = self._request(self.request, language, task, beam, prompt), self._chunk(chunk)
        if self.causal:
            return WhisperStream(self._setup(request, milliseconds), sample_rate, voice)
        return AgreementStream(self._windows(request), sample_rate, milliseconds / 1e3, voice)

    def host(self, slots: int, *, chunks: Sequence[int] | None = None, beam: int | None = None) -> WhisperHost:
        """Room for `slots` streams in each of these chunks (default: the recogniser's), for an `Engine`.

        chunks, beam: as for the recogniser; the beam is that of all streams.
        """
        base = self._request(self.request, None, None, beam)
        known = [self._chunk(milliseconds) for milliseconds in chunks or (self.chunk,)]
        room = self._chunked if self.causal else self._looking
        rooms = {milliseconds: room(base, milliseconds, slots) for milliseconds in known}
        return WhisperHost(
            rooms, lambda language, task, prompt: self._request(base, language, task, None, prompt), self.sample_rate
        )

    def _chunked(self, base: Request, milliseconds: int, slots: int) -> Room:
        """Room for streams of a causal model."""
        setup = self._setup(base, milliseconds)
        lanes = setup.lanes(slots)
        return Room(
            lambda request, rate, voice: WhisperStream(self._setup(request, milliseconds), rate, voice, lanes),
            regular(lanes, setup.pipeline, setup.chunk, setup.rate, self.model.config.dim),
        )

    def _looking(self, base: Request, milliseconds: int, slots: int) -> Room:
        """Room for streams of another model."""
        windows, seconds = self._windows(base), milliseconds / 1e3
        lane = windows.lane(slots)
        return Room(
            lambda request, rate, voice: AgreementStream(self._windows(request), rate, seconds, voice, lane),
            [Regular(lane, windows.size, 0, (), torch.float32, 1 / seconds, "look")],
        )

    def _request(
        self, base: Request, language: str | None, task: Task | None, beam: int | None, prompt: str | None = None
    ) -> Request:
        """What is asked for, checked against what the model knows."""
        ids = None if prompt is None else tuple(self.tokenizer.encode(f" {prompt.strip()}" if prompt.strip() else ""))
        given = {"language": language, "task": task, "beam": beam, "prompt": ids}
        request = replace(base, **{name: value for name, value in given.items() if value is not None})
        symbols = self.tokenizer.symbols
        if request.language == AUTO and not symbols.multilingual:
            request = replace(request, language="en")
        symbols.prompt(request.language, request.task)
        if type(request.beam) is not int or request.beam < 0:
            raise SpeechError(f"expected a beam of 0 (greedy) or more hypotheses, got {request.beam!r}: correct it")
        return request

    def _chunk(self, milliseconds: int | None) -> int:
        """The chunk that is asked for, checked against what the model was trained for."""
        if milliseconds is None:
            milliseconds = getattr(self, "chunk", None)
        if self.causal:
            return self.model.config.context(milliseconds).milliseconds
        milliseconds = LOOK if milliseconds is None else milliseconds
        if not LOOKS[0] <= milliseconds <= LOOKS[1]:
            raise SpeechError(
                f"expected {LOOKS[0]} to {LOOKS[1]} ms from one look to the next of a Whisper that was not trained to "
                f"stream, got {milliseconds} ms: choose such"
            )
        return milliseconds

    def _text(self, request: Request) -> Text:
        return Text(self.tokenizer, self.model.config.frame, request.written)

    def _pipeline(self, context: Context) -> Sequential:
        """Samples to encoder frames in one context; made once, shared by all streams."""
        if context not in self._pipelines:
            self._pipelines[context] = self.model.pipeline(context).eval()
        return self._pipelines[context]

    def _setup(self, request: Request, milliseconds: int) -> Setup:
        config = self.model.config
        context = config.context(milliseconds)
        search = Search(self.model.decoder, self.tokenizer.symbols, request)
        return Setup(config, context, self._pipeline(context), search, self._text(request), self.endpoint, self.aligned)

    def _windows(self, request: Request) -> Windows:
        context = Context.windows(self.model.config.positions)
        return Windows(self.model, self._pipeline(context), request, self._text(request), self.endpoint)
