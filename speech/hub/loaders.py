"""From a checkpoint of each kind to the model that users hold."""

from __future__ import annotations

from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from speech.errors import SpeechError
from speech.hub.checkpoint import (
    SPEAKER_ENCODER,
    SPEECH_TOKENIZER,
    TARGETS,
    VOICES,
    Checkpoint,
    load_folder,
    read_config,
)
from speech.hub.find import locate
from speech.kernels.linear import pack
from speech.kernels.quantised_linear import quantise
from speech.streaming.precision import weights_dtype

if TYPE_CHECKING:
    from speech.asr.recogniser import Recogniser
    from speech.asr.whisper.recogniser import Task, WhisperRecogniser
    from speech.flow.layers import Context
    from speech.flow.solver import Sampling
    from speech.streaming.precision import Kind
    from speech.tts.reader import Reader
    from speech.tts.sampling import SamplingConfig
    from speech.tts.synthesiser import Synthesiser
    from speech.tts.text.normalise import Normaliser
    from speech.vc.converter import Converter

Device = str | torch.device | None
"""Where a model is put: "cpu", "cuda", "cuda:1", ...; None: the first CUDA device where there is one."""

KINDS = {
    "fastconformer": "recogniser",
    "whisper": "recogniser",
    "synthesiser": "synthesiser",
    "converter": "converter",
}
"""What the families of checkpoints are."""

OPTIONS = {
    "fastconformer": ("look_ahead", "decoder", "weights", "cache"),
    "whisper": ("chunk", "language", "task", "beam", "prompt"),
    "synthesiser": ("voice", "voice_text", "context", "sampling", "codes", "normaliser"),
    "converter": ("target", "chunk", "steps"),
}
"""What can be chosen of a model of a family, besides device and dtype."""

WHAT: dict[str, tuple[str, tuple[type, ...]]] = {
    **dict.fromkeys(("look_ahead", "chunk"), ("a number of milliseconds", (Real,))),
    **dict.fromkeys(("steps", "beam"), ("a whole number", (Integral,))),
    **dict.fromkeys(("voice", "target"), ("a name or a path", (str, Path))),
    **dict.fromkeys(("decoder", "weights", "cache", "language", "task", "prompt", "voice_text"), ("text", (str,))),
}
"""What an option is in words, and its types; those of other options tell themselves."""


def load_recogniser(
    name: str | Path = "asr",
    device: Device = None,
    look_ahead: int | None = None,
    decoder: str | None = None,
    dtype: torch.dtype | None = None,
    *,
    weights: Kind | None = None,
    cache: Kind | None = None,
    chunk: float | None = None,
    language: str | None = None,
    task: Task | None = None,
    beam: int | None = None,
    prompt: str | None = None,
) -> Recogniser | WhisperRecogniser:
    """`load` for a recogniser of any name. Raises SpeechError for another kind of model too."""
    checkpoint = _read(name, "recogniser", device, dtype, weights)
    given = {"look_ahead": look_ahead, "decoder": decoder, "weights": weights, "cache": cache, "chunk": chunk}
    given |= {"language": language, "task": task, "beam": beam, "prompt": prompt}
    own = own_options(checkpoint.family, name, given)
    own = {key: value for key, value in own.items() if value is not None and key != "weights"}
    model: Any = checkpoint.model
    if checkpoint.family == "whisper":
        from speech.asr.whisper.recogniser import WhisperRecogniser
        from speech.asr.whisper.tokenizer import Symbols, WhisperTokenizer

        vocabulary = WhisperTokenizer.load(checkpoint.tokenizer, Symbols(model.config.vocabulary))
        return WhisperRecogniser(model, vocabulary, device=_device(device), **own)
    from speech.asr.recogniser import Recogniser
    from speech.asr.tokenizer import Tokenizer

    return Recogniser(model, Tokenizer.load(checkpoint.tokenizer), device=_device(device), **own)


def own_options(family: str, name: str | Path, given: dict[str, Any]) -> dict[str, Any]:
    """Of the options that may be given those of a family. Raises SpeechError for others and for wrong types."""
    own = OPTIONS[family]
    strange = [key for key, value in given.items() if value is not None and key not in own]
    if strange:
        raise SpeechError(
            f"expected {', '.join(own)} for the {KINDS[family]} {name}, got {', '.join(strange)}: leave that out"
        )
    for key, (words, types) in WHAT.items():
        if (value := given.get(key)) is not None and not isinstance(value, types):
            raise SpeechError(f"expected {words} as {key}, got {value!r}: correct it")
    return {key: given[key] for key in own}


def load_synthesiser(
    name: str | Path = "tts",
    device: Device = None,
    dtype: torch.dtype | None = None,
    *,
    voice: str | Path | None = None,
    voice_text: str | None = None,
    context: Context | None = None,
    sampling: Sampling | None = None,
    codes: SamplingConfig | None = None,
    normaliser: str | Normaliser | None = None,
) -> Synthesiser:
    """`load` for a synthesiser of any name. Raises SpeechError for another kind of model too."""
    from speech.content.onnx import ONNXSpeakerEncoder, ONNXSpeechTokenizer
    from speech.tts.synthesiser import Synthesiser
    from speech.tts.voice import read_voices

    checkpoint = _read(name, "synthesiser", device, dtype)
    model: Any = checkpoint.model
    files = checkpoint.files
    tokenizer = ONNXSpeechTokenizer(files[SPEECH_TOKENIZER]) if SPEECH_TOKENIZER in files else None
    speaker = ONNXSpeakerEncoder(files[SPEAKER_ENCODER]) if SPEAKER_ENCODER in files else None
    synthesiser = Synthesiser(
        model,
        _reader(checkpoint),
        read_voices(files[VOICES]) if VOICES in files else {},
        tokenizer=model.tokenizer or tokenizer,
        speaker=model.speaker or speaker,
        context=context,
        sampling=sampling,
        codes=codes,
        normaliser=normaliser,
    )
    if voice is not None:
        _choose(synthesiser, voice, voice_text)
    elif voice_text is not None:
        raise SpeechError("expected voice_text beside the recording of a voice, got it alone: pass voice=... too")
    return synthesiser


def load_converter(
    name: str | Path = "vc",
    device: Device = None,
    dtype: torch.dtype | None = None,
    *,
    target: str | Path | None = None,
    chunk: float | None = None,
    steps: int | None = None,
) -> Converter:
    """`load` for a converter of any name. Raises SpeechError for another kind of model too."""
    from speech.vc.converter import Converter
    from speech.vc.voice import read_targets

    if dtype not in (None, torch.float32):
        raise SpeechError(f"expected float32 for a converter, which has no other precision, got {dtype}: leave it out")
    checkpoint = _read(name, "converter", device, None)
    model: Any = checkpoint.model
    files = checkpoint.files
    converter = Converter(model, read_targets(files[TARGETS]) if TARGETS in files else {}, chunk=chunk, steps=steps)
    if target is not None:
        converter.prefer(converter.take_up(target))
    return converter


def _read(
    name: str | Path, kind: str, device: Device, dtype: torch.dtype | None, weights: str | None = None
) -> Checkpoint:
    """The checkpoint of a model of this kind, on its device and, on a CPU, laid out for inference.

    weights: what those of its encoder become.
    """
    where, folder = _device(device), locate(name)
    found = KINDS[read_config(folder)[0]]
    if found != kind:
        raise SpeechError(f"expected a {kind}, {name} is a {found}: name another model")
    checkpoint = load_folder(folder, where, dtype if kind == "recogniser" else None)
    model: Any = checkpoint.model
    if kind == "synthesiser":
        for parameter in (*model.lm.parameters(), *model.flow.parameters()):
            parameter.data = parameter.data.to(dtype or parameter.dtype)
    model.to(where)  # what no file holds, such as the flow's noise
    if weights:
        quantise(model.encoder, weights_dtype(weights, where))
    if where.type == "cpu":
        pack(model)
    return checkpoint


def _device(device: Device) -> torch.device:
    from speech.asr.recogniser import find_device

    return find_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _reader(checkpoint: Checkpoint) -> Reader:
    """What turns text into the ids that the language model was trained on."""
    from speech.tts.reader import PairReader, PhonemeReader

    vocabulary = checkpoint.config.lm.vocabulary
    if checkpoint.config.text == "phonemes":
        from speech.tts.text.phonemes import phonemiser

        return PhonemeReader(phonemiser(), vocabulary)
    from speech.tts.tokens import TextTokenizer

    return PairReader(TextTokenizer.load(checkpoint.folder), vocabulary, checkpoint.config.instruction)


def _choose(synthesiser: Synthesiser, voice: str | Path, text: str | None) -> None:
    """Make a voice, by name or from a file, the default."""
    if text is not None and (str(voice) in synthesiser.voices or Path(voice).suffix == ".safetensors"):
        raise SpeechError(f"expected voice_text beside a recording only, {voice} is a voice already: leave it out")
    synthesiser.prefer(synthesiser.take_up(voice, text or ""))
