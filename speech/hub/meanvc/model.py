"""Import of MeanVC and MeanVC 2: the folder of a public model to a checkpoint folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from speech.audio.mel import MEANVC_MEL
from speech.errors import SpeechError
from speech.hub.checkpoint import CARD, build, save
from speech.hub.meanvc.content import from_u2pp, from_wavlm_ecapa
from speech.hub.meanvc.folder import from_meanvc
from speech.hub.meanvc.vocos import from_public as from_vocos
from speech.hub.torchscript import read_weights
from speech.vc.model import SHORTEST_CHUNK, ConverterModel, ConverterModelConfig

Tensors = dict[str, Tensor]

NETWORKS = "model_*ms.safetensors", "meanvc2_*.safetensors"
CONTENTS, VOCODER, SPEAKER = "fastu2*.pt", "vocos.pt", "wavlm_large_finetune.pth"
CONTENT_OF = {12: "160ms", 4: "80ms"}
"""Of several content encoders the one that MeanVC 2 runs beside a network with chunks of so many mel frames."""


def convert(folder: Path, target: Path, card: str | None = None) -> Path:
    """Convert the folder of a MeanVC or MeanVC 2 model into the checkpoint folder `target`; returns `target`.

    It holds a network (`model_200ms.safetensors`, `meanvc2_120ms_40ms.safetensors`, ...), a content encoder
    (`fastu2++.pt`, ...), `vocos.pt` and, where recordings are to become targets, `wavlm_large_finetune.pth`. Programs
    in these files are not executed. Weights keep their precision. card: the text of the model card; by default the
    folder's own, or a few lines that name it.

    Raises:
        SpeechError: a part is missing or damaged, asks to be executed, or does not fit the others.
    """
    networks = [path for pattern in NETWORKS for path in sorted(folder.glob(pattern))]
    if len(networks) > 1:
        names = " and ".join(path.name for path in networks)
        raise SpeechError(f"expected one network in {folder}, got {names}: leave the one to be converted there")
    path = networks[0] if networks else folder / "model_200ms.safetensors"
    found = re.search(r"_(\d+)0ms", path.name)
    network, network_weights = from_meanvc(_tensors(path), int(found[1]) if found else None)
    own = max(network.chunk // network.rate, SHORTEST_CHUNK)
    content, content_weights = from_u2pp(read_weights(_content(folder, network.chunk)), own)
    vocoder, vocoder_weights = from_vocos(read_weights(_existing(folder / VOCODER)))
    weights = _under("content", content_weights) | _under("network", network_weights)
    weights |= _under("vocoder", vocoder_weights)
    config = ConverterModelConfig(
        content, network=network, vocoder=vocoder, mel=replace(MEANVC_MEL, features=network.mel)
    )
    if (folder / SPEAKER).is_file():
        speaker, speaker_weights = from_wavlm_ecapa(read_weights(folder / SPEAKER, "model"))
        config = replace(config, speaker=speaker)
        weights |= _under("speaker", speaker_weights)
    model = build(ConverterModel, config, weights, str(folder))
    return save(target, model, card or _card(folder), {}, dtype=None)


def _content(folder: Path, chunk: int) -> Path:
    """The file of the content encoder."""
    files = sorted(folder.glob(CONTENTS))
    fitting = [path for path in files if CONTENT_OF.get(chunk, "") in path.name]
    if files and len(fitting) != 1:
        names = " and ".join(path.name for path in files)
        raise SpeechError(f"expected one content encoder in {folder}, got {names}: leave the network's own there")
    return fitting[0] if fitting else _existing(folder / "fastu2++.pt")


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise SpeechError(f"expected {path.name} in {path.parent}, it is missing: take all files of the model")
    return path


def _tensors(path: Path) -> Tensors:
    try:
        return load_file(_existing(path))
    except (SafetensorError, OSError) as error:
        raise SpeechError(f"expected {path} to be whole, it is damaged or cut short: fetch it again") from error


def _under(part: str, tensors: Mapping[str, Tensor]) -> Tensors:
    return {f"{part}.{name}": tensor for name, tensor in tensors.items()}


def _card(folder: Path) -> str:
    if (folder / CARD).is_file():
        return (folder / CARD).read_text(encoding="utf-8", errors="replace")
    return (
        f"# {folder.resolve().name}\n\nA converter imported from a folder of MeanVC.\n"
        "Its licence and scores are those of the original model.\n"
    )
