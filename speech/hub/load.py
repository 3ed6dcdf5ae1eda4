"""`speech.load`: from a name to a recogniser that is ready to listen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from speech.asr.recogniser import Recogniser, find_device
from speech.asr.tokenizer import Tokenizer
from speech.hub.checkpoint import load_folder
from speech.hub.find import locate
from speech.kernels.linear import pack

if TYPE_CHECKING:
    from speech.asr.model import FastConformer


def load(
    name: str | Path = "asr",
    device: str | torch.device | None = None,
    look_ahead: int | None = None,
    decoder: str | None = None,
    dtype: torch.dtype | None = None,
) -> Recogniser:
    """Load a recogniser.

    name: `asr`, the model that ships with the package; a checkpoint folder; a `.nemo` file; or a hub name such as
    `nvidia/stt_en_fastconformer_hybrid_large_streaming_multi`. What has to be fetched or converted is kept in the
    cache, and loading it again needs no network.
    device: "cpu", "cuda", "cuda:1", ...; by default the first CUDA device where there is one.
    look_ahead: milliseconds of future that the model may wait for, one of those it was trained for; by default the
    first of them.
    decoder: "rnnt" or "ctc", where the model has both; by default the transducer.
    dtype: precision of the parameters, float32 by default. On a CPU float32 weights are laid out for inference; to
    train or save a model, read it with `hub.checkpoint.load_folder` instead.

    Raises:
        SpeechError: the model is unknown or damaged, or has no such look-ahead or decoder, or the device is not there.
    """
    where = find_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    checkpoint = load_folder(locate(name), where, dtype)
    tokenizer = Tokenizer.load(checkpoint.tokenizer)
    model: FastConformer = checkpoint.model  # type: ignore[assignment]
    if where.type == "cpu":
        pack(model)
    return Recogniser(model, tokenizer, look_ahead=look_ahead, decoder=decoder, device=where)
