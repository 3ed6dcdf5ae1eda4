"""The synthesiser: text, whole or as it arrives, to speech."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from speech.asr.alignment import Aligner, Alignment
from speech.asr.recogniser import Recogniser
from speech.audio.file import Audio, read
from speech.audio.mel import LogMel
from speech.audio.resample import resample
from speech.content.reference import VOICE_SECONDS, SpeakerEncoder, SpeechTokenizer
from speech.content.reference import recording as checked
from speech.content.voiced import require_voice
from speech.content.voices import Kind, Voices
from speech.errors import SpeechError
from speech.flow.layers import Context
from speech.flow.solver import Sampling
from speech.streaming.frames import Frames
from speech.tts.host import SynthesiserHost
from speech.tts.model import SynthesiserModel
from speech.tts.reader import Reader
from speech.tts.render import Acoustics
from speech.tts.sampling import SamplingConfig
from speech.tts.session import Lanes, Session, Setup, Speech
from speech.tts.stream import Stream, Texts
from speech.tts.stretch import checked_speed
from speech.tts.text.frontend import FrontEnd
from speech.tts.text.grammar import normaliser as normaliser_of
from speech.tts.text.normalise import Normaliser
from speech.tts.voice import Voice, fitting, pack_voices, read_voices

LONGEST_PROMPT = 30.0  # seconds


@dataclass(frozen=True)
class Latency:
    """What the first sound waits for beside computing: text, then codes, then mel frames beyond its own.

    codes: speech codes before the first mel frames. code_seconds: how long a code sounds. vocoder_seconds: mel that the
    vocoder holds back.
    """

    codes: int
    code_seconds: float
    vocoder_seconds: float


class Synthesiser:
    """Networks, text front end and voices, ready to speak. It holds nothing of a stream: open as many as you like.

    model: in evaluation mode. reader: text to ids. voices: by name, the default first. tokenizer, speaker: what
    `add_voice` needs. context, sampling: of the flow; smaller chunks speak earlier and cost more. codes: how they are
    chosen, and whether drafts of them are. normaliser: how numbers, dates, abbreviations, ... are read: "rules" (the
    default), "grammar" or a function, as `text.grammar.normaliser` says. Raises SpeechError for drafts that the model
    has no heads for, and for a normaliser that is not there.
    """

    def __init__(
        self,
        model: SynthesiserModel,
        reader: Reader,
        voices: Mapping[str, Voice],
        *,
        tokenizer: SpeechTokenizer | None = None,
        speaker: SpeakerEncoder | None = None,
        context: Context | None = None,
        sampling: Sampling | None = None,
        codes: SamplingConfig | None = None,
        normaliser: str | Normaliser | None = None,
    ) -> None:
        self.model, self.reader = model, reader
        self._tokenizer, self._speaker, self._normaliser = tokenizer, speaker, normaliser_of(normaliser)
        kind = Kind("voice", partial(fitting, model.config), pack_voices, read_voices)
        self._voices = Voices(kind, voices, lambda _, voice: self._setup.acoustics.forget(voice))
        acoustics, codes = Acoustics(model.flow, model.vocoder, context, sampling), codes or model.config.sampling
        model.config.lm.check(codes)
        self._setup = Setup(model.lm, acoustics, reader, codes, self.sample_rate)

    @property
    def sample_rate(self) -> int:
        """Of all that it says, in Hz."""
        return self.model.vocoder.sample_rate

    @property
    def voices(self) -> list[str]:
        """Names of the voices; the first is the default."""
        return list(self._voices)

    @property
    def latency(self) -> Latency:
        """What the first sound waits for, computing aside."""
        acoustics = self._setup.acoustics
        return Latency(acoustics.codes_before_sound, acoustics.code_seconds, acoustics.hold_back)

    def synthesize(
        self,
        text: str,
        voice: str | None = None,
        *,
        speed: float = 1.0,
        seed: int | None = None,
        markup: bool = True,
        aligner: Recogniser | None = None,
    ) -> Speech:
        """All of a text as one sound.

        voice: a name of `voices`. speed: 0.25 to 4. seed: the same one says the same text in the same way. markup: read
        SSML tags. aligner: hears when the words are said, where the model itself does not tell (one that reads byte
        pairs): it must have a CTC head and know the language. Raises SpeechError for a voice that is not there, for a
        text without anything to say, and for a recogniser that cannot align.
        """
        with self.stream(text, voice, speed=speed, seed=seed, markup=markup, aligner=aligner) as stream:
            parts = list(stream)
        samples = np.concatenate([part.samples for part in parts])
        return Speech(samples, self.sample_rate, tuple(word for part in parts for word in part.words))

    def stream(
        self,
        text: Texts,
        voice: str | None = None,
        *,
        speed: float = 1.0,
        seed: int | None = None,
        markup: bool = True,
        aligner: Recogniser | None = None,
        patience: float | None = None,
    ) -> Stream:
        """Sound as it is made, of a text or of pieces of one as they arrive, cut anywhere.

        patience: seconds to wait for the next piece of text. Otherwise as `synthesize`, and raises SpeechError for what
        is neither text nor gives any, and for a patience that is no number of seconds.
        """
        hears = self._aligner(aligner)
        aligning = partial(Alignment, hears, self.sample_rate) if hears else None
        return Stream(self._session(voice, speed=speed, seed=seed, markup=markup, aligning=aligning), text, patience)

    def host(self, slots: int, aligner: Recogniser | None = None) -> SynthesiserHost:
        """Room for `slots` streams, for an `Engine`. aligner: of all of them, as for `synthesize`."""
        lanes, hears = self._setup.lanes(slots), self._aligner(aligner)
        if hears is None:
            return SynthesiserHost(partial(self._session, lanes=lanes), self._setup, lanes)
        lane = hears.lane(slots)
        aligning = partial(Alignment, hears, self.sample_rate, lane)
        begin = partial(self._session, lanes=lanes, aligning=aligning)
        return SynthesiserHost(begin, self._setup, lanes, [hears.regular(lane)])

    def _aligner(self, aligner: Recogniser | None) -> Aligner | None:
        """What hears the times of words; None where the model tells them itself. Raises SpeechError for what cannot."""
        if aligner is not None and not isinstance(aligner, Recogniser):
            raise SpeechError(
                f"expected a recogniser with a CTC head as aligner, got {type(aligner).__name__}: load another"
            )
        return None if aligner is None or self.model.config.text == "phonemes" else aligner.aligner

    def _session(
        self,
        voice: str | None = None,
        *,
        speed: float = 1.0,
        seed: int | None = None,
        markup: bool = True,
        lanes: Lanes | None = None,
        aligning: Callable[[], Alignment] | None = None,
    ) -> Session:
        """Begin a stream; options as of `synthesize`."""
        chosen = self._voices[voice or self._voices.default]
        front_end = FrontEnd(normaliser=self._normaliser, markup=markup)
        return Session(self._setup, chosen, checked_speed(speed), seed, front_end, lanes, aligning)

    def take_up(self, voice: str | Path | None, text: str = "") -> str:
        """The name of a voice: one of `voices` (None: the default), or one that is added now, under its path as name.

        voice: a name, a recording, or a file that `save_voice` wrote. text: what is said in the recording, if known.
        Raises SpeechError for neither.
        """
        if voice is None:
            return self._voices.default
        return self._voices.take_up(voice, lambda name, path: self.add_voice(name, path, text))

    def add_voice(self, name: str, recording: str | Path | Audio, text: str = "") -> None:
        """Speak like a recording of 0.5 to 30 s from now on, under a new name. text: what is said in it, if known.

        Warns of one in which somebody speaks for a small part only. Raises SpeechError where the model cannot take
        voices up, and for a recording that is too short, too long, silent or unreadable, or in which nobody speaks.
        """
        if self._tokenizer is None or self._speaker is None:
            raise SpeechError(
                f"expected a model that takes voices up from recordings, this one has none of that: choose of "
                f"{self._voices.known}"
            )
        if not isinstance(recording, str | Path | Audio):
            raise SpeechError(
                f"expected a sound file or an Audio, got {type(recording).__name__}: wrap samples, Audio(samples, rate)"
            )
        audio = recording if isinstance(recording, Audio) else read(recording)
        if audio.seconds > LONGEST_PROMPT:
            raise SpeechError(
                f"expected a recording of at most {LONGEST_PROMPT:g} s, got {audio.seconds:.1f} s: cut a part out of it"
            )
        heard = checked(audio.samples, audio.sample_rate, shortest=VOICE_SECONDS, audible=True)
        require_voice("the recording" if recording is audio else str(recording), heard.numpy())
        speaker = self._speaker.embed(audio.samples, audio.sample_rate)
        codes = self._tokenizer.encode(audio.samples, audio.sample_rate)
        front = LogMel(self.model.config.mel)
        samples = torch.from_numpy(resample(audio.samples, audio.sample_rate, front.config.sample_rate))
        with torch.inference_mode():
            mel = front(Frames.whole(samples[None])).data[0]
        ids = torch.tensor(self.reader.example(text), dtype=torch.long)
        self._voices.keep(name, Voice.prompted(speaker, codes, mel, ids, self.model.flow.config.rate))

    def save_voice(self, name: str, path: str | Path) -> None:
        """Write a voice to a `.safetensors` file, so that it need not be taken up from its recording again.

        Raises SpeechError for a voice that is not there and a file that cannot be written.
        """
        self._voices.save(name, path)

    def load_voices(self, path: str | Path) -> list[str]:
        """Add the voices of a file that `save_voice` wrote; returns their names.

        Raises SpeechError for a file that is damaged or not there, and for voices of another model.
        """
        return self._voices.load(path)

    def prefer(self, name: str) -> None:
        """Make a voice the default. Raises SpeechError if it is not there."""
        self._voices.prefer(name)
