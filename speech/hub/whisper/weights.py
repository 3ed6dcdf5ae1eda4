"""Import of Whisper: OpenAI's `.pt` files, Hugging Face folders, causal Whispers (CarelessWhisper, WhisperRT)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from speech.asr.whisper.config import HEAD, Context, WhisperConfig
from speech.asr.whisper.model import Whisper
from speech.audio.mel import WHISPER, WHISPER_STREAMING, LogMel
from speech.errors import SpeechError
from speech.hub.checkpoint import build
from speech.hub.rename import count, shape_of
from speech.hub.whisper.file import Published, read

_ATTENTION = {"query": "q", "key": "k", "value": "v", "out": "out"}
_PREFIX = {"encoder": "attention.branch.attention", "decoder": "attention"}
_ENCODER = {
    "attn_ln": "attention.branch.norm",
    "mlp_ln": "feed_forward.branch.module.0",
    "mlp.0": "feed_forward.branch.module.1",
    "mlp.2": "feed_forward.branch.module.3",
}
_DECODER = {
    "attn_ln": "attention_norm",
    "cross_attn_ln": "cross_norm",
    **{f"cross_attn.{name}": f"cross.{name}" for name in ("query", "value", "out")},
    "mlp_ln": "feed_forward.0",
    "mlp.0": "feed_forward.1",
    "mlp.2": "feed_forward.3",
}
_BASE, _DOWN, _UP = ".base_layer.", ".lora_layer.lora_A", ".lora_layer.lora_B"


def load_whisper(path: str | Path, contexts: tuple[Context, ...] = ()) -> Whisper:
    """Read a published Whisper, in evaluation mode, float32, low-rank updates merged into the weights.

    contexts: in which its encoder shall listen (default: as the file says: windows of 30 s, or the chunks that a
    causal Whisper was trained for).

    Raises:
        SpeechError: the path is none, the file is damaged or of another kind, or a tensor is missing, not known or of
            another shape: nothing is ever loaded in part.
    """
    path = Path(path)
    published = read(path)
    config, tensors = from_published(published, contexts)
    model = build(Whisper, config, tensors, str(path))
    assert isinstance(model, Whisper)
    return model.eval()


def from_published(published: Published, contexts: tuple[Context, ...] = ()) -> tuple[WhisperConfig, dict[str, Tensor]]:
    """A `Whisper`'s configuration and state dict from a published one. contexts: as in `load_whisper`.

    Raises:
        SpeechError: tensors are missing or not known, or the sizes that the file states are not those of its tensors.
    """
    source = str(published.path)
    odd = [n for n, t in published.tensors.items() if not t.is_floating_point() or t.layout is not torch.strided]
    if odd:
        raise SpeechError(
            f"expected plain floating-point weights in {source}, but {odd[0]} is {published.tensors[odd[0]].dtype}"
            f" ({published.tensors[odd[0]].layout}): take the file as it was published, not quantised"
        )
    tensors = {name: tensor.float() for name, tensor in without_lora(published.tensors, source).items()}
    config = _config(tensors, published, contexts)
    names = dict(_names(config))
    missing, unknown = [n for n in names if n not in tensors], [n for n in tensors if n not in names]
    if missing or unknown:
        faults = [f"{name} is missing" for name in missing] + [f"{_line(name)} is not known" for name in unknown]
        more = f", and {len(faults) - 4} more" if len(faults) > 4 else ""
        shown = ", ".join(dict.fromkeys([*faults[:2], *faults[-2:]]))  # of both kinds, where there are both
        raise SpeechError(
            f"expected exactly the tensors of a Whisper in {source}, but {shown}{more}: take the file of one, whole"
        )
    own = _fused({names[name]: tensor for name, tensor in tensors.items()})
    return config, own | {f"mel.{name}": tensor for name, tensor in LogMel(config.mel).state_dict().items()}


def _line(name: str) -> str:
    """A name from a file on one line."""
    return name.encode("unicode_escape").decode()


def without_lora(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Plain weights in place of `base_layer` and `lora_layer`: W + (A B)^T, computed in float64.

    A: [n, rank]; B: [rank, m]. The updates of causal Whispers are scaled by alpha / rank = 1.

    Raises:
        SpeechError: an update stands alone, or is missing, or does not fit its weight.
    """
    out = {n.replace(_BASE, "."): t for n, t in tensors.items() if not n.endswith((_DOWN, _UP))}
    ends = (f"{_BASE}weight", _DOWN, _UP)
    layers = {name.removesuffix(end) for name in tensors for end in ends if name.endswith(end)}
    for layer in sorted(layers):
        parts = (out.get(f"{layer}.weight"), tensors.get(layer + _DOWN), tensors.get(layer + _UP))
        weight, down, up = (torch.empty(0) if part is None else part for part in parts)
        fits = down.dim() == up.dim() == 2 and down.shape[1] == up.shape[0]
        if not fits or weight.shape != (up.shape[1], down.shape[0]):
            shapes = ", ".join("none" if part is None else str(list(part.shape)) for part in parts)
            raise SpeechError(
                f"expected a weight of {layer} in {source} with an update A [n, rank] and B [rank, m], got the shapes "
                f"{shapes}: take the file of the model, whole"
            )
        out[f"{layer}.weight"] = weight.double() + (down.double() @ up.double()).T
    return out


def _config(tensors: Mapping[str, Tensor], published: Published, contexts: tuple[Context, ...]) -> WhisperConfig:
    """Sizes by the shapes of the tensors; the number of heads shows in none."""
    source, dims = str(published.path), published.dims
    dim, features, _ = shape_of(tensors, "encoder.conv1.weight", 3, source)
    positions = shape_of(tensors, "encoder.positional_embedding", 2, source)[0]
    compatible = bool(published.causal) and not contexts
    contexts = contexts or _contexts(published, positions)
    causal = any(context.left for context in contexts)
    config = WhisperConfig(
        mel=replace(WHISPER_STREAMING if causal else WHISPER, features=features),
        dim=dim,
        encoder_layers=count(tensors, "encoder.blocks."),
        encoder_heads=dims.get("n_audio_head", max(dim // HEAD, 1)),
        decoder_layers=count(tensors, "decoder.blocks."),
        decoder_heads=dims.get("n_text_head", max(dim // HEAD, 1)),
        vocabulary=shape_of(tensors, "decoder.token_embedding.weight", 2, source)[0],
        positions=positions,
        tokens=shape_of(tensors, "decoder.positional_embedding", 2, source)[0],
        contexts=contexts,
        alignment_heads=published.heads,
        compatible=compatible,
    )
    found = {
        "n_mels": features,
        "n_audio_ctx": positions,
        "n_audio_state": dim,
        "n_audio_layer": config.encoder_layers,
        "n_vocab": config.vocabulary,
        "n_text_ctx": config.tokens,
        "n_text_state": dim,
        "n_text_layer": config.decoder_layers,
    }
    for name, value in found.items():
        if dims.get(name, value) != value:
            raise SpeechError(
                f"expected the tensors of {source} to have the sizes that it states, but {name} is {dims[name]} and "
                f"they have {value}: take the file of one model, whole"
            )
    return config


def _contexts(published: Published, positions: int) -> tuple[Context, ...]:
    """The contexts that a file was trained for: `gran` frames a chunk, the first `extra_gran_blocks` more."""
    if not published.causal:
        if any(name.endswith((_DOWN, _UP)) for name in published.tensors):
            raise SpeechError(
                f"expected the settings of a causal Whisper, `cfg`, beside the low-rank updates in {published.path}, "
                "found none: take the file as it was published"
            )
        return (Context.windows(positions),)
    chunk, extra = (published.causal.get(name) for name in ("gran", "extra_gran_blocks"))
    if (  # True is no number of frames
        type(chunk) is not int
        or type(extra) is not int
        or not 0 < chunk < positions
        or not 0 <= extra < positions // chunk
    ):
        raise SpeechError(
            f"expected the settings of a causal Whisper in {published.path} with gran and extra_gran_blocks, chunks "
            f"of less than its {positions} frames, got {dict(published.causal)}: take the file of one"
        )
    return (Context.causal(chunk, chunk * (extra + 1), positions),)


def _names(c: WhisperConfig) -> Iterator[tuple[str, str]]:
    """OpenAI's and our names of all tensors, `q`, `k` and `v` not yet fused."""

    def both(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
        yield from ((f"{theirs}.{part}", f"{ours}.{part}") for part in ("weight", "bias"))

    yield "encoder.positional_embedding", "encoder.positions.table"
    yield "decoder.positional_embedding", "decoder.positions.weight"
    yield "decoder.token_embedding.weight", "decoder.embed.weight"
    tops = {"encoder.conv1": "encoder.conv1", "encoder.conv2": "encoder.conv2"}
    for theirs, ours in (tops | {"encoder.ln_post": "encoder.norm", "decoder.ln": "decoder.norm"}).items():
        yield from both(theirs, ours)
    stacks = (("encoder", c.encoder_layers, _ENCODER), ("decoder", c.decoder_layers, _DECODER))
    for stack, layers, parts in stacks:
        for i in range(layers):
            theirs, ours = f"{stack}.blocks.{i}", f"{stack}.layers.{i}"
            for name, own in parts.items():
                yield from both(f"{theirs}.{name}", f"{ours}.{own}")
            for name, own in _ATTENTION.items():
                pairs = both(f"{theirs}.attn.{name}", f"{ours}.{_PREFIX[stack]}.{own}")
                yield from ((a, b) for a, b in pairs if not a.endswith("key.bias"))
            if stack == "decoder":
                yield f"{theirs}.cross_attn.key.weight", f"{ours}.cross.key.weight"


def _fused(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Queries, keys and values of self-attention as one matrix; keys, which have no bias, get one of zeros."""
    for layer in [name.removesuffix(".q.weight") for name in tensors if name.endswith(".q.weight")]:
        tensors[f"{layer}.k.bias"] = torch.zeros_like(tensors[f"{layer}.q.bias"])
        for part in ("weight", "bias"):
            q, k, v = (tensors.pop(f"{layer}.{x}.{part}") for x in "qkv")
            if not q.shape == k.shape == v.shape:
                raise SpeechError(
                    f"expected queries, keys and values of one shape, got {list(q.shape)}, {list(k.shape)} and "
                    f"{list(v.shape)} for {layer}: take the file of one model, whole"
                )
            tensors[f"{layer}.qkv.{part}"] = torch.cat([q, k, v])
    return tensors
