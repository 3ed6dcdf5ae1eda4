"""The options that choose a recogniser, and loading it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from speech.asr.recogniser import Recogniser
    from speech.asr.whisper.recogniser import WhisperRecogniser
    from speech.audio.file import Channel, Pcm

Model = Annotated[
    str, typer.Option("--model", "-m", help="`asr` (bundled), a checkpoint folder, a .nemo or .pt file, or a hub name.")
]
LookAhead = Annotated[
    int | None,
    typer.Option("--look-ahead", metavar="MS", help="Milliseconds of future to wait for; more is more accurate."),
]
Decoder = Annotated[
    str | None, typer.Option("--decoder", metavar="rnnt|ctc", help="By default rnnt where the model has it.")
]
Chunk = Annotated[
    int | None,
    typer.Option("--chunk", metavar="MS", help="Whisper: milliseconds of sound after which it decodes."),
]
Language = Annotated[
    str | None,
    typer.Option(
        "--language",
        metavar="CODE|auto",
        help="Whisper: what is spoken. By default auto, found out by what comes first, or en if trained to stream.",
    ),
]
Task = Annotated[
    str | None, typer.Option("--task", metavar="transcribe|translate", help="Whisper: translate is into English.")
]
Beam = Annotated[
    int | None, typer.Option("--beam", metavar="N", help="Whisper: hypotheses to keep; 0, the default, is greedy.")
]
Prompt = Annotated[
    str | None,
    typer.Option("--prompt", metavar="TEXT", help="Whisper: as if it came before: names and spellings that may come."),
]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1, ...; by default the first GPU, else the CPU.")
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, metavar="N", help="CPU threads; by default one to listen, else one for each core."
    ),
]
Raw = Annotated[
    str | None,
    typer.Option(
        metavar="HZ[,ENCODING[,CHANNELS]]", help="The input has no header: s16le or f32le samples at this rate."
    ),
]
Which = Annotated[
    str | None,
    typer.Option("--channel", metavar="N|mix", help="Of several channels hear the N-th, from 1 on, or their mean."),
]


def load(model: str, device: str | None, threads: int | None, **chosen: Any) -> Recogniser | WhisperRecogniser:
    """A recogniser as the options say. Raises SpeechError for what the model or the machine does not have.

    chosen: look_ahead, decoder, chunk, language, task, beam and prompt, None where nothing was chosen.
    """
    import torch

    from speech.hub.load import load_recogniser

    if threads:
        torch.set_num_threads(threads)
    return load_recogniser(model, device, **chosen)


def pcm(raw: str | None) -> Pcm | None:
    """How headerless samples are to be read, from "HZ[,ENCODING[,CHANNELS]]"."""
    if raw is None:
        return None
    from speech.audio.file import Pcm

    rate, encoding, channels = (raw.split(",") + ["s16le", "1"][raw.count(",") :])[:3]
    if not rate.isdecimal() or not channels.isdecimal() or raw.count(",") > 2:
        raise typer.BadParameter(f"expected such as 16000 or 48000,f32le,2, got {raw!r}", param_hint="--raw")
    return Pcm(int(rate), encoding, int(channels))  # type: ignore[arg-type]


def channel(which: str | None) -> Channel:
    """The channel to hear, from "N" or "mix"."""
    if which is None:
        return None
    if which == "mix":
        return "mix"
    if not which.isdecimal():
        raise typer.BadParameter(f"expected a number from 1 on or mix, got {which!r}", param_hint="--channel")
    return int(which)
