"""Low-rank adaptation (Hu et al. 2021, arXiv 2106.09685) of Whisper's attention, with an exact merge."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speech.asr.whisper.decoder import CrossAttention
from speech.kernels.linear import Linear
from speech.streaming.attention import Attention


class LoRA(nn.Module):
    """A frozen linear layer plus a trained update of low rank. [..., n] -> [..., m].

    y = W x + c + alpha / rank * B A x. A layer that holds `parts` matrices, one below the other, has so many updates:
    fused queries, keys and values are adapted as three layers would be. B starts as zeros, so nothing changes at first.
    """

    def __init__(self, base: Linear, rank: int, alpha: float | None = None, parts: int = 1) -> None:
        super().__init__()
        if rank < 1 or base.out_features % parts:
            raise ValueError(
                f"expected a rank of at least 1 and parts that divide {base.out_features}, got rank {rank} and {parts}"
            )
        like = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.empty(parts, rank, base.in_features, **like))
        self.up = nn.Parameter(torch.zeros(parts, base.out_features // parts, rank, **like))
        self.scale = (rank if alpha is None else alpha) / rank
        nn.init.uniform_(self.down, -(base.in_features**-0.5), base.in_features**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        low = torch.einsum("...n,prn->...pr", x, self.down)
        return self.base(x) + self.scale * torch.einsum("...pr,pmr->...pm", low, self.up).flatten(-2)

    @torch.no_grad()
    def merged(self) -> Linear:
        """The layer with its update added to the weight: W + alpha / rank * B A, computed in float64."""
        update = self.scale * (self.up.double() @ self.down.double()).flatten(0, 1)
        self.base.weight.copy_(self.base.weight.double() + update)
        return self.base.requires_grad_(True)


def adapt(model: nn.Module, rank: int, alpha: float | None = None) -> list[nn.Parameter]:
    """Freeze `model` and put a `LoRA` on queries, keys, values and outputs of all its attentions, in place.

    alpha: scales the update (default: rank, a factor of 1). Returns the parameters to train.
    """
    model.requires_grad_(False)
    trained: list[nn.Parameter] = []
    for attention in [m for m in model.modules() if isinstance(m, Attention | CrossAttention)]:
        names = ("qkv", "out") if isinstance(attention, Attention) else ("query", "key", "value", "out")
        for name in names:
            adapted = LoRA(attention.get_submodule(name), rank, alpha, 3 if name == "qkv" else 1)  # type: ignore[arg-type]
            attention.set_submodule(name, adapted)
            trained += [adapted.down, adapted.up]
    return trained


def merge(model: nn.Module) -> None:
    """Put plain layers that compute the same in place of all `LoRA`s of `model`; everything can be trained again."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoRA):
            model.set_submodule(name, layer.merged())
    model.requires_grad_(True)
