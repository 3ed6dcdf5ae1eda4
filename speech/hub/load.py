"""`speech.load`: from a name to a model that is ready to listen, to speak or to convert."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import torch

from speech.hub.checkpoint import read_config
from speech.hub.find import locate
from speech.hub.loaders import KINDS, Device, load_converter, load_recogniser, load_synthesiser, own_options

if TYPE_CHECKING:
    from speech.asr.recogniser import Recogniser
    from speech.asr.whisper.recogniser import Task, WhisperRecogniser
    from speech.flow.layers import Context
    from speech.flow.solver import Sampling
    from speech.streaming.precision import Kind
    from speech.tts.sampling import SamplingConfig
    from speech.tts.synthesiser import Synthesiser
    from speech.tts.text.normalise import Normaliser
    from speech.vc.converter import Converter


@overload
def load(
    name: Literal["asr"] = "asr",
    device: Device = None,
    look_ahead: int | None = None,
    decoder: str | None = None,
    dtype: torch.dtype | None = None,
    *,
    weights: Kind | None = None,
    cache: Kind | None = None,
) -> Recogniser: ...
@overload
def load(
    name: Literal["tts"],
    device: Device = None,
    *,
    dtype: torch.dtype | None = None,
    voice: str | Path | None = None,
    voice_text: str | None = None,
    context: Context | None = None,
    sampling: Sampling | None = None,
    codes: SamplingConfig | None = None,
    normaliser: str | Normaliser | None = None,
) -> Synthesiser: ...
@overload
def load(
    name: Literal["vc"],
    device: Device = None,
    *,
    target: str | Path | None = None,
    chunk: float | None = None,
    steps: int | None = None,
) -> Converter: ...
@overload
def load(
    name: str | Path,
    device: Device = None,
    look_ahead: int | None = None,
    decoder: str | None = None,
    dtype: torch.dtype | None = None,
    *,
    weights: Kind | None = None,
    cache: Kind | None = None,
    voice: str | Path | None = None,
    voice_text: str | None = None,
    context: Context | None = None,
    sampling: Sampling | None = None,
    codes: SamplingConfig | None = None,
    normaliser: str | Normaliser | None = None,
    target: str | Path | None = None,
    chunk: float | None = None,
    steps: int | None = None,
    language: str | None = None,
    task: Task | None = None,
    beam: int | None = None,
    prompt: str | None = None,
) -> Recogniser | WhisperRecogniser | Synthesiser | Converter: ...
def load(
    name: str | Path = "asr",
    device: Device = None,
    look_ahead: int | None = None,
    decoder: str | None = None,
    dtype: torch.dtype | None = None,
    *,
    weights: Kind | None = None,
    cache: Kind | None = None,
    voice: str | Path | None = None,
    voice_text: str | None = None,
    context: Context | None = None,
    sampling: Sampling | None = None,
    codes: SamplingConfig | None = None,
    normaliser: str | Normaliser | None = None,
    target: str | Path | None = None,
    chunk: float | None = None,
    steps: int | None = None,
    language: str | None = None,
    task: Task | None = None,
    beam: int | None = None,
    prompt: str | None = None,
) -> Recogniser | WhisperRecogniser | Synthesiser | Converter:
    """Load a recogniser, a synthesiser or a converter.

    name: `asr`, `tts` or `vc`, the models that ship with the package; a checkpoint folder; a `.nemo` file; a `.pt` file
    of a Whisper, its vocabulary beside it; a folder of CosyVoice 2 or 3, of MeanVC or of a Whisper; or a hub name such
    as `nvidia/stt_en_fastconformer_hybrid_large_streaming_multi`, `openai/whisper-tiny` or
    `FunAudioLLM/CosyVoice2-0.5B`. What has to be fetched or converted is kept in the cache, and loading it again needs
    no network.
    device: "cpu", "cuda", "cuda:1", ...; by default the first CUDA device where there is one.
    dtype: precision of the parameters, float32 by default; of a synthesiser, that of language model and flow, while the
    small parts beside them stay exact; a converter has float32 alone. On a CPU float32 weights are laid out for
    inference; to train a model, read it with `hub.checkpoint.load_folder` instead.

    Of a recogniser:
    look_ahead: milliseconds of future that the model may wait for, one of those it was trained for; by default the
    first of them.
    decoder: "rnnt" or "ctc", where the model has both; by default the transducer.
    weights: "int8" or, on a card of compute capability 8.9 and up, "fp8": keep the encoder's matrices in 8 bits, which
    are read faster where few streams step together, in float32 on a CPU or any precision on a card; recordings in long
    steps gain nothing. A few words come out otherwise: judge on recordings of your own.
    cache: "int8" or "fp8": keep keys and values of streams in 8 bits: room for more streams and, on a card, less to
    read; on a CPU steps take longer. It changes less than 8-bit weights do.

    Of a Whisper:
    chunk: milliseconds of sound after which it decodes: one of those it was trained for, by default the first of them;
    of a Whisper that was not trained to stream the time from one look to the next, by default 1000.
    language: what is spoken, a code such as "en", or "auto" (the default of multilingual models that were not trained
    to stream); task: "transcribe" or "translate" (into English); beam: hypotheses that are kept, by default 0, greedy
    decoding; prompt: text as if it had come before, with names and spellings that may come.

    Of a synthesiser:
    voice: the default voice: one that the model has, a recording of 0.5 to 30 s to speak like, or a file that
    `Synthesiser.save_voice` wrote.
    voice_text: what is said in the recording, if known; the voice is closer to it then.
    context, sampling: how far the flow sees, and its steps; by default as the model was trained. With a `left` that is
    as long as all that is said (and its prompt), what is said is what a model of unbounded memory says.
    codes: how the language model's codes are chosen and, where it has draft heads, whether it drafts; by default as the
    model's own configuration says (`synthesiser.model.config.sampling`).
    normaliser: what reads numbers, dates, ...: "rules" (the default), "grammar" (the rules and a larger grammar:
    `pip install wetext`), or a function from text to readings: see `speech.tts.text.grammar.normaliser`.

    Of a converter:
    target: the default voice: one that the model has, a recording of it of a second or more, or a file that
    `Converter.save_target` wrote.
    chunk: milliseconds of sound that are converted at once; steps: evaluations of the network for each.

    Raises:
        SpeechError: the model is unknown or damaged, or has no such look-ahead, decoder, language, voice, target or
            chunk, or is not of the kind that an argument is for, or device or normaliser is not there, or no fp8.
    """
    folder = locate(name)
    family = read_config(folder)[0]
    given: dict[str, Any] = {"look_ahead": look_ahead, "decoder": decoder, "weights": weights, "cache": cache}
    given |= {"voice": voice, "voice_text": voice_text, "context": context, "sampling": sampling, "codes": codes}
    given |= {"normaliser": normaliser, "target": target, "chunk": chunk, "steps": steps}
    given |= {"language": language, "task": task, "beam": beam, "prompt": prompt}
    loaders = {"recogniser": load_recogniser, "synthesiser": load_synthesiser, "converter": load_converter}
    return loaders[KINDS[family]](folder, device, dtype=dtype, **own_options(family, name, given))
