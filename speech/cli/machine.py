"""`speech devices` and `speech doctor`: what this machine has, and whether all is well."""

from __future__ import annotations

import platform
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from speech.cli.output import AsJson, emit, note, table
from speech.errors import SpeechError

if TYPE_CHECKING:
    import numpy as np

    from speech.asr.recogniser import Recogniser
    from speech.asr.whisper.recogniser import WhisperRecogniser
    from speech.tts.synthesiser import Synthesiser
    from speech.vc.converter import Converter

LIBRARIES = ("streaming-speech", "torch", "numpy", "soundfile", "soxr", "sentencepiece", "sounddevice")
SELF_CHECK_SECONDS = 2.0
SELF_CHECK_TEXT = "One two three."
SELF_CHECK_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Check:
    """One line of the doctor. needed: whether recordings cannot be transcribed without it."""

    name: str
    good: bool
    needed: bool
    found: str


def devices(as_json: AsJson = False) -> None:
    """List sound devices, and what networks can run on."""
    from speech.audio import device as audio

    networks = _networks()
    try:
        sound, missing = audio.devices(), ""
    except SpeechError as error:
        sound, missing = [], str(error)
    if as_json:
        for found in sound:
            emit({"type": "sound", **asdict(found)})
        for name, about in networks:
            emit({"type": "network", "name": name, "about": about})
        return
    if sound:
        marks = [(d, "*" if d.default_input else "", "*" if d.default_output else "") for d in sound]
        rows = [
            (d.index, d.name, f"{d.inputs}{i}", f"{d.outputs}{o}", f"{d.sample_rate} Hz", d.system) for d, i, o in marks
        ]
        table(("number", "sound device", "inputs", "outputs", "rate", "system"), rows)
        print("* default; `speech listen --microphone` and `speech say --speaker` take a number or part of a name\n")
    else:
        note(missing or "no sound devices found")
    table(("--device", "networks run on"), networks)


def doctor(
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A model's name or folder; by default all that are bundled.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the installation: versions, devices, models. Exit code 1 where something needed is missing."""
    well = True
    for check in _checks(model):
        well = well and (check.good or not check.needed)
        if as_json:
            emit(asdict(check))
        else:
            state = "ok" if check.good else "MISSING" if check.needed else "absent"
            print(f"{state:8}{check.name:17}{check.found}", flush=True)
    if not well:
        raise typer.Exit(1)


def _checks(model: str | None) -> Iterator[Check]:
    from importlib.metadata import version

    from speech.hub.models import list_models

    python = platform.python_version_tuple()
    fits = (3, 11) <= (int(python[0]), int(python[1])) <= (3, 13)
    yield Check("python", fits, True, f"{platform.python_version()}, {platform.platform()}")
    for name in LIBRARIES:
        yield _check(name, name != "sounddevice", lambda name=name: version(name))
    yield _check("networks run on", True, lambda: ", ".join(f"{name} ({about})" for name, about in _networks()))
    yield _check("sound files", True, _sound_files)
    yield _check("sound devices", False, _sound_devices)
    yield _check("voice activity", False, _voice_activity)
    for name in [model] if model else [entry.name for entry in list_models() if entry.source == "bundled"]:
        yield _check("model", True, lambda name=name: _model(name))
        yield _check("self-check", True, lambda name=name: _self_check(name))


def _check(name: str, needed: bool, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, needed, look())
    except (SpeechError, ImportError, OSError) as error:
        return Check(name, False, needed, " ".join(str(error).split()))


def _networks() -> list[tuple[str, str]]:
    """Names for `--device`, each with a word on what it is."""
    import torch

    found = [("cpu", f"{torch.get_num_threads()} threads")]
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory
        found.append((f"cuda:{index}", f"{torch.cuda.get_device_name(index)}, {memory / 2**30:.0f} GiB"))
    return found + ([("mps", "Apple GPU")] if torch.backends.mps.is_available() else [])


def _sound_files() -> str:
    import soundfile

    return f"{soundfile.__libsndfile_version__}: {', '.join(sorted(soundfile.available_formats()))}"


def _sound_devices() -> str:
    from speech.audio.device import devices

    found = devices()
    if not any(device.inputs for device in found):
        raise SpeechError("PortAudio finds no input: plug in a microphone to use `speech listen` without --input")
    return ", ".join(device.name for device in found)


def _voice_activity() -> str:
    from speech.audio.vad import Silero

    Silero()
    return "Silero"


def _model(name: str) -> str:
    from speech.hub.models import info

    found = info(name)
    looks, voices = ", ".join(map(str, found.look_aheads)), ", ".join(found.voices or found.targets)
    able = f"look-aheads {looks} ms" if looks else f"voices {voices or '(none)'}"
    if found.family == "whisper":
        able = f"chunks {', '.join(map(str, found.chunks))} ms" if found.chunks else "not trained to stream"
    return f"{name}: {found.parameters / 1e6:.1f} M parameters, {able}"


def _self_check(name: str) -> str:
    """Run the model in one go and as a stream: both must agree."""
    import speech

    model = speech.load(name, "cpu")
    if isinstance(model, speech.Synthesiser):
        factor = _speaks(model)
    else:
        factor = _converts(model) if isinstance(model, speech.Converter) else _listens(model)
    return f"stream and whole signal agree, real-time factor {factor:.2f}"


def _listens(recogniser: Recogniser | WhisperRecogniser) -> float:
    """A sweep of tones; returns the real-time factor of the stream. Raises SpeechError if it hears something else."""
    import numpy as np

    samples = _sweep(recogniser.sample_rate)
    if getattr(recogniser, "causal", True):
        whole = recogniser.transcribe(samples, recogniser.sample_rate).text
    else:  # a Whisper that was not trained to stream hears windows of another length live
        whole = _heard(recogniser, [samples])
    begin = time.perf_counter()
    streamed = _heard(recogniser, np.array_split(samples, 20))
    factor = (time.perf_counter() - begin) / SELF_CHECK_SECONDS
    if streamed != whole:
        raise SpeechError(f"expected a stream to say what the whole signal says, got {streamed!r} and {whole!r}")
    return factor


def _heard(recogniser: Recogniser | WhisperRecogniser, parts: list[np.ndarray]) -> str:
    """What a stream says that is pushed these samples."""
    import speech

    with recogniser.stream(recogniser.sample_rate) as stream:
        events = [event for part in parts for event in stream.push(part)] + stream.flush()
    return " ".join(event.text for event in events if isinstance(event, speech.Final))


def _speaks(synthesiser: Synthesiser) -> float:
    """A sentence; returns the real-time factor of the stream. Raises SpeechError if it says something else."""
    import numpy as np

    whole = synthesiser.synthesize(SELF_CHECK_TEXT, seed=0).samples
    with synthesiser.stream([word + " " for word in SELF_CHECK_TEXT.split()], seed=0) as stream:
        streamed = np.concatenate([part.samples for part in stream])
    if streamed.shape != whole.shape or np.abs(streamed - whole).max() > SELF_CHECK_TOLERANCE:
        raise SpeechError("expected a stream to sound as the whole text does, it does not: install the package again")
    return stream.stages.busy / (len(streamed) / synthesiser.sample_rate)


def _converts(converter: Converter) -> float:
    """A sweep of tones; returns the real-time factor of the stream. Raises SpeechError if it sounds otherwise."""
    import numpy as np

    samples = _sweep(converter.sample_rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that tones are no voice
        whole = converter.convert(samples, sample_rate=converter.sample_rate).samples
    begin = time.perf_counter()
    with converter.stream(converter.sample_rate) as stream:
        parts = [stream.push(part) for part in np.array_split(samples, 20)] + [stream.flush()]
    factor = (time.perf_counter() - begin) / SELF_CHECK_SECONDS
    streamed = np.concatenate(parts)[stream.delay :]
    if streamed.shape != whole.shape or np.abs(streamed - whole).max() > SELF_CHECK_TOLERANCE:
        raise SpeechError("expected a stream to sound as the whole recording does, it does not: install it again")
    return factor


def _sweep(sample_rate: int) -> np.ndarray:
    """Tones that rise, [n] float32."""
    import numpy as np

    t = np.arange(round(SELF_CHECK_SECONDS * sample_rate)) / sample_rate
    return (0.1 * np.sin(2 * np.pi * (200 + 400 * t) * t)).astype(np.float32)
