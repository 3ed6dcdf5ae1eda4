"""The options that choose a recogniser, and loading it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from speech.asr.recogniser import Recogniser
    from speech.audio.file import Channel, Pcm

Model = Annotated[
    str, typer.Option("--model", "-m", help="`asr` (bundled), a checkpoint folder, a .nemo file, or a hub name.")
]
LookAhead = Annotated[
    int | None,
    typer.Option("--look-ahead", metavar="MS", help="Milliseconds of future to wait for; more is more accurate."),
]
Decoder = Annotated[
    str | None, typer.Option("--decoder", metavar="rnnt|ctc", help="By default rnnt where the model has it.")
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


def load(
    model: str, look_ahead: int | None, decoder: str | None, device: str | None, threads: int | None
) -> Recogniser:
    """A recogniser as the options say. Raises SpeechError for what the model or the machine does not have."""
    import torch

    from speech.hub.load import load_recogniser

    if threads:
        torch.set_num_threads(threads)
    return load_recogniser(model, device, look_ahead, decoder)


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
