"""The recogniser: files and arrays to transcripts, live samples to events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch

from speech.asr.alignment import Aligner, align
from speech.asr.endpoint import EndpointConfig, frames
from speech.asr.events import Transcript
from speech.asr.greedy import CTCGreedy, Greedy, RNNTGreedy
from speech.asr.host import RecogniserHost
from speech.asr.model import FastConformer
from speech.asr.recording import Source, opened, transcribed
from speech.asr.session import Setup, Stream
from speech.asr.tokenizer import Tokenizer
from speech.audio.file import Channel, Pcm
from speech.audio.vad import VoiceActivity
from speech.errors import SpeechError
from speech.streaming.module import Sequential
from speech.streaming.precision import cells_dtype

BLOCK = 20.0  # seconds a step when nobody waits for words: chunking is free, and long steps use the machine best


class Recogniser:
    """A model with its tokenizer, ready to recognise. It holds nothing of a stream: open as many as you like.

    model: is moved to `device` and set to evaluation. look_ahead: milliseconds, one of `look_aheads` (default: the
    model's first). decoder: "rnnt" or "ctc" (default: the transducer where there is one). endpoint: when an utterance
    ends. cache: "int8" or "fp8", what keys and values of streams are kept in (default: what the model computes in).
    Raises SpeechError for what the model or the machine does not have.
    """

    def __init__(
        self,
        model: FastConformer,
        tokenizer: Tokenizer,
        *,
        look_ahead: int | None = None,
        decoder: str | None = None,
        device: str | torch.device = "cpu",
        endpoint: EndpointConfig | None = None,
        cache: str | None = None,
    ) -> None:
        if len(tokenizer) != model.config.vocabulary:
            raise SpeechError(
                f"expected a tokenizer of {model.config.vocabulary} pieces, got {len(tokenizer)}: use its own"
            )
        place = find_device(device)
        self.model, self.tokenizer = model.to(place).eval(), tokenizer
        self._cells = cells_dtype(cache, place) if cache else None
        self.endpoint = endpoint or EndpointConfig()
        self._decoders = decoders(self.model, self.endpoint)
        self._pipelines: dict[tuple[int, int], Sequential] = {}
        self._setups: dict[tuple[int, str, float], Setup] = {}
        self.look_ahead = self.look_aheads[0] if look_ahead is None else look_ahead
        self.decoder = self.decoders[0] if decoder is None else decoder
        self._setup(None, None)

    @property
    def sample_rate(self) -> int:
        """The model's own sample rate in Hz; other rates are resampled."""
        return self.model.config.mel.sample_rate

    @property
    def look_aheads(self) -> list[int]:
        """Milliseconds of future audio that the model can be run with; the first is its default."""
        return list(self.model.config.look_aheads)

    @property
    def decoders(self) -> list[str]:
        """The decoders that the model has heads for; the first is the default."""
        return list(self._decoders)

    def transcribe(
        self,
        source: Source,
        sample_rate: int | None = None,
        *,
        look_ahead: int | None = None,
        decoder: str | None = None,
        pcm: Pcm | None = None,
        channel: Channel = None,
        progress: Callable[[float], None] | None = None,
    ) -> Transcript:
        """Recognise a whole file ("-": standard input), or samples [n] (float32 or int16) at `sample_rate` Hz.

        It runs as a stream in long steps, so memory does not grow with the recording (the transcript does). pcm: how
        headerless samples are to be read. channel: which one of a file to hear. progress: called with the seconds done
        so far. Raises SpeechError for what cannot be read or is not samples, `Interrupted` for what breaks off midway.
        """
        setup = self._setup(look_ahead, decoder, BLOCK)
        return transcribed(
            source,
            sample_rate,
            lambda rate: Stream(setup, rate),
            self.sample_rate,
            pcm=pcm,
            channel=channel,
            progress=progress,
        )

    def align(
        self,
        source: Source,
        text: str,
        sample_rate: int | None = None,
        *,
        pcm: Pcm | None = None,
        channel: Channel = None,
        progress: Callable[[float], None] | None = None,
    ) -> Transcript:
        """When each word of a known text is said in a recording; the lines of the text are the transcript's segments.

        Words stand as they do in the text. A word's confidence is the geometric mean of its frames' probabilities; 0
        where the vocabulary cannot spell it: such a word lies between its neighbours. By the CTC head at the longest
        look-ahead. Time and memory grow with the recording: see `forced.best_path`.

        source, sample_rate, pcm, channel, progress: as of `transcribe`. Raises SpeechError for a model without a CTC
        head, what cannot be read, silence, a text without words that can be spelt, and one that is too long for the
        sound.
        """
        aligner = self.aligner
        rate, parts = opened(source, sample_rate, self.sample_rate, pcm=pcm, channel=channel)
        return align(aligner, rate, parts, text, step=BLOCK, progress=progress)

    @cached_property
    def aligner(self) -> Aligner:
        """What finds the times of known words. Raises SpeechError for a model without a CTC head."""
        contexts, ctc = self.model.config.look_aheads, self.model.ctc
        if ctc is None:
            raise SpeechError("expected a model with a CTC head for alignment, this one has none: load another")
        scorer = Sequential(encoded=self._pipeline(contexts[max(contexts)]), ctc=ctc).eval()
        return Aligner(scorer, self.tokenizer, self.sample_rate, self.model.config.ctc_delay)

    def stream(
        self,
        sample_rate: int,
        *,
        look_ahead: int | None = None,
        decoder: str | None = None,
        voice: VoiceActivity | None = None,
    ) -> Stream:
        """Open a live stream of samples at `sample_rate` Hz; look_ahead and decoder as for the recogniser.

        voice: watch for voice with this, which serves one stream at a time.
        """
        return Stream(self._setup(look_ahead, decoder), sample_rate, voice)

    def host(
        self, slots: int, *, look_aheads: Sequence[int] | None = None, decoder: str | None = None
    ) -> RecogniserHost:
        """Room for `slots` streams at each of these look-aheads (default: the recogniser's), for an `Engine`."""
        known = {ms: self._setup(ms, decoder) for ms in look_aheads or (self.look_ahead,)}
        return RecogniserHost(known, self.model.config.encoder.dim, slots)

    def _pipeline(self, context: tuple[int, int]) -> Sequential:
        """Samples to encoder frames at one context; made once, shared by all streams."""
        if context not in self._pipelines:
            self._pipelines[context] = self.model.pipeline(context, self._cells).eval()
        return self._pipelines[context]

    def _setup(self, look_ahead: int | None, decoder: str | None, step: float = 0.0) -> Setup:
        """What a stream runs, made once; step: seconds of a step at least."""
        key = (self.look_ahead if look_ahead is None else look_ahead, decoder or self.decoder, step)
        if key not in self._setups:
            self._setups[key] = self._make_setup(*key)
        return self._setups[key]

    def _make_setup(self, look_ahead: int, decoder: str, step: float) -> Setup:
        contexts = self.model.config.look_aheads
        if look_ahead not in contexts:
            known = ", ".join(map(str, contexts))
            raise SpeechError(
                f"expected a look-ahead of {known} ms, got {look_ahead!r}: choose one that the model was trained for"
            )
        pipeline = self._pipeline(contexts[look_ahead])
        chunk = pipeline.grain * max(1, round(step * self.sample_rate / pipeline.grain))
        if decoder not in self._decoders:
            raise SpeechError(
                f"expected a decoder of {', '.join(self._decoders)}, got {decoder!r}: the model has no other head"
            )
        return Setup(pipeline, self._decoders[decoder], self.tokenizer, self.sample_rate, chunk, self.endpoint)


def decoders(model: FastConformer, endpoint: EndpointConfig) -> dict[str, Greedy]:
    """Greedy decoders for the heads that the model has, as streams run them; the first is the default."""
    found: dict[str, Greedy] = {}
    if model.prediction is not None and model.joint is not None:
        restart = frames(endpoint.silence, model.config.frame)
        found["rnnt"] = RNNTGreedy(model.prediction, model.joint, restart=restart)
    if model.ctc is not None:
        found["ctc"] = CTCGreedy(model.ctc)
    return found


def find_device(name: str | torch.device) -> torch.device:
    """The device of that name. Raises SpeechError, listing what there is, when the machine does not have it."""
    known = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    known += ["mps"] if torch.backends.mps.is_available() else []
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or str(device) not in (*known, *(n.split(":")[0] for n in known)):
        raise SpeechError(
            f"expected a device of {', '.join(known)}, got {str(name)!r}: choose one that this machine has"
        )
    return device
