"""Public key names to ours: what follows from shapes, and what is said when a file is not what it should be."""

from __future__ import annotations

import re

import pytest
import torch

from speech.errors import SpeechError
from speech.hub.checkpoint import build
from speech.hub.cosyvoice import hift as cosyvoice_hift
from speech.hub.meanvc import vocos as meanvc_vocos
from speech.hub.rename import without_weight_norm
from speech.vocoder.hift import HiFT
from tests.vocoder.public import DIM, F0_DIM, FEATURES, public_hift

PARAMETRISED = "conv_pre.parametrizations.weight.original"


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("prefix", ["", "generator."])
def test_the_version_and_all_sizes_follow_from_the_shapes(causal: bool, prefix: str) -> None:
    config, tensors = cosyvoice_hift.from_public({prefix + n: x for n, x in public_hift(causal=causal).items()})
    assert config.causal == causal
    assert (config.features, config.dim, config.f0_dim) == (FEATURES, DIM, F0_DIM)
    assert (config.up_kernels, config.kernels, config.source_kernels) == ((16, 11, 7), (3, 7, 11), (7, 7, 11))
    assert (config.source.phase, config.source.noise) == (("nearest", "uniform") if causal else ("linear", "gaussian"))
    build(HiFT, config, tensors, "hift.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv_post.bias": ...}, "body.head.conv.bias is missing"),
        ({"ups.2.bias": torch.zeros(3)}, r"has shape \[3\]"),
        ({"resblocks.4.convs2.1.bias": torch.zeros(1)}, r"has shape \[1\]"),
        ({"surprise.weight": torch.zeros(3)}, "surprise is not known"),
        ({f"{PARAMETRISED}0": ...}, "weight of conv_pre"),
        ({f"{PARAMETRISED}1": ...}, "weight of conv_pre"),
        ({f"{PARAMETRISED}0": torch.ones(3, 1, 1)}, "weight of conv_pre"),
        ({f"{PARAMETRISED}0": ..., f"{PARAMETRISED}1": ...}, "conv_pre.weight"),
        ({"m_source.l_linear.weight": torch.zeros(9)}, "m_source.l_linear.weight"),
        ({"resblocks.3.activations1.0.alpha": ...}, "resblocks.3.activations1.0 is missing"),
    ],
)
def test_a_hift_file_that_is_not_whole(change: dict[str, object], message: str) -> None:
    tensors: dict[str, object] = public_hift(causal=False) | change
    with pytest.raises(SpeechError, match=message) as caught:
        build(HiFT, *cosyvoice_hift.from_public({n: x for n, x in tensors.items() if x is not ...}), "hift.pt")  # type: ignore[misc]
    assert "\n" not in str(caught.value)


def test_nothing_of_a_vocos_in_the_file() -> None:
    with pytest.raises(SpeechError, match=re.escape("backbone.embed.weight")):
        meanvc_vocos.from_public({"weight": torch.zeros(3)})
    with pytest.raises(SpeechError, match=re.escape("ups.0.weight")):
        cosyvoice_hift.from_public({})


def test_weight_norm_is_that_of_pytorch() -> None:
    layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.ConvTranspose1d(4, 3, 5))
    torch.nn.init.normal_(layer.parametrizations.weight.original0)  # type: ignore[union-attr]
    named = {f"up.{name}": x for name, x in layer.state_dict().items()}
    plain = without_weight_norm(named, "a layer")
    assert set(plain) == {"up.weight", "up.bias"}
    torch.testing.assert_close(plain["up.weight"], layer.weight)
