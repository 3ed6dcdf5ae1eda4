"""The weights of CosyVoice's HiFT vocoders, versions 2 and 3, under this project's names.

Names and sizes only: whether every tensor has the shape that the configuration asks for, `checkpoint.build` sees to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.hub.rename import renamed, shape_of, without_weight_norm
from speech.vocoder.hift import HiFTConfig
from speech.vocoder.source import SourceConfig

SOURCE = "a CosyVoice HiFT vocoder"
STAGES = 3


def from_public(tensors: Mapping[str, Tensor]) -> tuple[HiFTConfig, dict[str, Tensor]]:
    """The tensors of a public `hift.pt` to a `HiFT`'s configuration and state dict.

    Version, widths and kernels follow from the shapes. Rates, dilations and the constants of the source show in no
    tensor: they are those of the public models. In version 3, which is causal, the phase stands still over a frame and
    the noise is uniform. Weight normalisation is folded into plain weights.

    Raises:
        SpeechError: layers are missing, or some are left over.
    """
    plain = without_weight_norm({name.removeprefix("generator."): x for name, x in tensors.items()}, SOURCE)
    config = _config(plain)
    out = renamed(plain, dict(_names(config)), SOURCE)
    out["f0.out.weight"] = out["f0.out.weight"][..., None]  # a linear layer is a convolution of kernel 1
    return config, out | {"body.head.istft.window": torch.hann_window(config.n_fft)}


def _config(tensors: Mapping[str, Tensor]) -> HiFTConfig:
    def shape(layer: str) -> torch.Size:
        return shape_of(tensors, f"{layer}.weight", 3, SOURCE)

    ups = [shape(f"ups.{i}") for i in range(STAGES)]
    causal = ups[0][0] < ups[0][1]  # a convolution [out, in, kernel]; a transposed one is [in, out, kernel]
    blocks = sum(name.startswith("resblocks.") and name.endswith(".convs1.0.weight") for name in tensors) // STAGES
    kernels = tuple(shape(f"resblocks.{i}.convs1.0")[2] for i in range(blocks))
    dim, features, span = shape("conv_pre")
    f0_dim, _, f0_span = shape("f0_predictor.condnet.0")
    harmonics = shape_of(tensors, "m_source.l_linear.weight", 2, SOURCE)[1]
    versions = SourceConfig(harmonics), SourceConfig(harmonics, phase="nearest", noise="uniform")
    try:
        return HiFTConfig(
            features=features,
            dim=dim,
            up_kernels=tuple(up[2] for up in ups),
            n_fft=len(tensors["conv_post.weight"]) - 2 if "conv_post.weight" in tensors else 0,
            kernels=kernels,
            source_kernels=tuple(shape(f"source_resblocks.{i}.convs1.0")[2] for i in range(STAGES)),
            f0_dim=f0_dim,
            source=versions[causal],
            causal=causal,
            pre_look_ahead=span - 1 if causal else HiFTConfig.pre_look_ahead,
            f0_look_ahead=f0_span - 1 if causal else HiFTConfig.f0_look_ahead,
        )
    except ValueError as error:
        raise SpeechError(f"expected the sizes of {SOURCE}, they do not fit: {error}") from error


def _names(config: HiFTConfig) -> Iterator[tuple[str, str]]:
    """Public and own names of all layers."""
    yield from {"m_source.l_linear": "source.merge", "f0_predictor.classifier": "f0.out"}.items()
    yield from ((f"f0_predictor.condnet.{2 * i}", f"f0.conv{i}") for i in range(5))
    yield from {"conv_pre": "body.mel", "conv_post": "body.head.conv"}.items()
    for i in range(STAGES):
        stage = f"body.stages.{i}"
        yield from {f"ups.{i}": f"{stage}.up.conv", f"source_downs.{i}": f"{stage}.source.conv"}.items()
        yield from _block(f"source_resblocks.{i}", f"{stage}.source.block", config)
        for j in range(len(config.kernels)):
            yield from _block(f"resblocks.{i * len(config.kernels) + j}", f"{stage}.blocks.branches.block{j}", config)


def _block(public: str, own: str, config: HiFTConfig) -> Iterator[tuple[str, str]]:
    for i in range(len(config.dilations)):
        for j in (1, 2):
            yield f"{public}.convs{j}.{i}", f"{own}.unit{i}.branch.conv{j}"
            yield f"{public}.activations{j}.{i}", f"{own}.unit{i}.branch.snake{j}"
