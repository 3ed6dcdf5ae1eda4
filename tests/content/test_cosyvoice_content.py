"""Foreign names of tokenizer and speaker encoder: sizes are read off the tensors, and faults are told of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from speech.content.campplus import CAMPPlus
from speech.content.s3 import S3Tokenizer
from speech.errors import SpeechError
from speech.hub.checkpoint import build
from speech.hub.cosyvoice.content import _S3_BLOCK, _campplus_names, from_campplus, from_s3_tokenizer_v2
from speech.hub.schema import from_tree, to_tree
from tests.content.small import CAM, S3, speaker_encoder, tokenizer

Tensors = dict[str, Tensor]


def s3_tensors() -> Tensors:
    """Our small tokenizer under the public names."""
    return public_s3(tokenizer())


def public_s3(model: S3Tokenizer) -> Tensors:
    """A tokenizer of one layer under the public names."""
    names = {"project": "quantizer._codebook.project_down", "conv1": "encoder.conv1", "conv2": "encoder.conv2"}
    names |= {f"blocks.0.{ours}": f"encoder.blocks.0.{theirs}" for theirs, ours in _S3_BLOCK.items()}
    return public(model.state_dict(), names)


def campplus_tensors() -> Tensors:
    """Our small speaker encoder under the public names."""
    tensors = public(speaker_encoder().state_dict(), {ours: theirs for theirs, ours in _campplus_names(CAM.layers)})
    tensors["xvector.dense.linear.weight"] = tensors["xvector.dense.linear.weight"][..., None]
    return tensors


def public(tensors: Tensors, names: dict[str, str]) -> Tensors:
    parts = ((name.rpartition("."), tensor) for name, tensor in tensors.items())
    return {f"{names[layer]}.{part}": tensor for (layer, _, part), tensor in parts if layer in names}


def test_sizes_are_read_off_the_tensors() -> None:
    config, tensors = from_s3_tokenizer_v2(s3_tensors())
    assert config == S3 == from_tree(type(S3), to_tree(config), "s3")
    model = tokenizer()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in model.state_dict().items())
    config, tensors = from_campplus(campplus_tensors())
    assert config == replace(CAM, segment=100) == from_tree(type(CAM), to_tree(config), "campplus")
    assert all(torch.equal(tensors[name], tensor) for name, tensor in speaker_encoder().state_dict().items())


@pytest.mark.parametrize(
    ("convert", "tensors"), [(from_s3_tokenizer_v2, s3_tensors), (from_campplus, campplus_tensors)]
)
def test_layers_that_are_missing_or_too_many(
    convert: Callable[[Tensors], object], tensors: Callable[[], Tensors]
) -> None:
    whole = tensors()
    for layer in {name.rpartition(".")[0] for name in whole}:
        broken = {name: tensor for name, tensor in whole.items() if name.rpartition(".")[0] != layer}
        with pytest.raises(SpeechError, match=r"is missing|got none|is not known"):
            convert(broken)
    with pytest.raises(SpeechError, match=r"decoder\.lm is not known: take the file of that model"):
        convert(whole | {"decoder.lm.weight": torch.zeros(1)})
    with pytest.raises(SpeechError, match="got none"):
        convert({})


def test_shapes_that_do_not_fit() -> None:
    broken = s3_tensors() | {"encoder.blocks.0.mlp.0.weight": torch.zeros(3, 64)}
    with pytest.raises(SpeechError, match=r"blocks\.0\.ff\.0\.weight has shape \[3, 64\]"):
        build(S3Tokenizer, *from_s3_tokenizer_v2(broken), "tokenizer.pt")
    with pytest.raises(SpeechError, match=r"with 3 dimensions, got shape \[3\]"):
        from_s3_tokenizer_v2(s3_tensors() | {"encoder.conv1.weight": torch.zeros(3)})
    with pytest.raises(SpeechError, match="64 channels a head"):
        from_s3_tokenizer_v2(s3_tensors() | {"encoder.conv1.weight": torch.zeros(70, 128, 3)})
    broken = campplus_tensors()
    del broken["xvector.out_nonlinear.batchnorm.bias"]
    with pytest.raises(SpeechError, match=r"out_norm\.bias is missing"):
        build(CAMPPlus, *from_campplus(broken), "campplus.bin")
