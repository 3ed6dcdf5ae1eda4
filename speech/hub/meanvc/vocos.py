"""The weights of MeanVC's 16 kHz Vocos under this project's names.

Names and sizes only: whether every tensor has the shape that the configuration asks for, `checkpoint.build` sees to.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from speech.hub.rename import renamed, shape_of
from speech.vocoder.vocos import VocosConfig

SOURCE = "a MeanVC Vocos vocoder"

_BLOCK = {"dwconv": "conv", "norm": "ff.norm", "pwconv1": "ff.up", "pwconv2": "ff.down"}


def from_public(tensors: Mapping[str, Tensor]) -> tuple[VocosConfig, dict[str, Tensor]]:
    """The `state_dict` of the public TorchScript file to a `Vocos`'s configuration and state dict.

    All sizes follow from the shapes but the hop, a quarter of the transform.

    Raises:
        SpeechError: layers are missing, or some are left over.
    """
    dim, features, kernel = shape_of(tensors, "backbone.embed.weight", 3, SOURCE)
    n_fft = shape_of(tensors, "head.out.weight", 2, SOURCE)[0] - 2
    layers = sum(name.startswith("backbone.convnext.") and name.endswith(".gamma") for name in tensors)
    config = VocosConfig(
        features=features,
        dim=dim,
        hidden=shape_of(tensors, "backbone.convnext.0.pwconv1.weight", 2, SOURCE)[0],
        layers=layers,
        kernel=kernel,
        n_fft=n_fft,
        hop=n_fft // 4,
    )
    names = {"backbone.embed": "backbone.embed", "backbone.norm": "backbone.norm"}
    names |= {"backbone.final_layer_norm": "backbone.final_norm", "head.out": "head.out", "head.istft": "head.istft"}
    for i in range(layers):
        public, own = f"backbone.convnext.{i}", f"backbone.block{i}.branch"
        names |= {public: f"{own}.ff"} | {f"{public}.{theirs}": f"{own}.{ours}" for theirs, ours in _BLOCK.items()}
    return config, renamed(tensors, names, SOURCE)
