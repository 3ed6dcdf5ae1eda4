"""The speech tokenizer and the speaker encoder of CosyVoice 2 under this project's names.

Names and sizes only: whether every tensor has the shape that the configuration asks for, `checkpoint.build` sees to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from torch import Tensor, nn

from speech.audio.mel import KALDI_FBANK, S3_TOKENIZER, LogMel
from speech.content.campplus import BANDS, CAMPPlusConfig
from speech.content.fsq import FSQ
from speech.content.s3 import HEAD, S3Config
from speech.hub.rename import count, renamed, shape_of

_S3_BLOCK = {
    "attn.query": "attention.query",
    "attn.key": "attention.key",
    "attn.value": "attention.value",
    "attn.fsmn_block": "attention.memory",
    "attn.out": "attention.out",
    "attn_ln": "attention_norm",
    "mlp_ln": "ff_norm",
    "mlp.0": "ff.0",
    "mlp.2": "ff.2",
}
_CAM_LAYER = {
    "nonlinear1.batchnorm": "norm1",
    "linear1": "reduce",
    "nonlinear2.batchnorm": "norm2",
    "cam_layer.linear_local": "tdnn.local",
    "cam_layer.linear1": "tdnn.squeeze",
    "cam_layer.linear2": "tdnn.excite",
}
_CAM_RESIDUAL = {"conv1": "conv1", "bn1": "norm1", "conv2": "conv2", "bn2": "norm2"}


def from_s3_tokenizer_v2(tensors: Mapping[str, Tensor]) -> tuple[S3Config, dict[str, Tensor]]:
    """The PyTorch form of `speech_tokenizer_v2` to an `S3Tokenizer`'s configuration and state dict.

    Raises:
        SpeechError: layers are missing, or some are left over.
    """
    source = "a speech tokenizer v2"
    dim, features, _ = shape_of(tensors, "encoder.conv1.weight", 3, source)
    kernel = shape_of(tensors, "encoder.blocks.0.attn.fsmn_block.weight", 3, source)[2]
    digits = shape_of(tensors, "quantizer._codebook.project_down.weight", 2, source)[0]
    config = S3Config(
        mel=replace(S3_TOKENIZER, features=features),
        dim=dim,
        heads=dim // HEAD,
        layers=count(tensors, "encoder.blocks."),
        kernel=kernel,
        levels=(3,) * digits,
    )
    names = {"quantizer._codebook.project_down": "project", "encoder.conv1": "conv1", "encoder.conv2": "conv2"}
    for i in range(config.layers):
        names |= {f"encoder.blocks.{i}.{theirs}": f"blocks.{i}.{ours}" for theirs, ours in _S3_BLOCK.items()}
    out = renamed(tensors, names, source)
    return config, out | _constants("mel", LogMel(config.mel)) | _constants("quantiser", FSQ(config.levels))


def from_campplus(tensors: Mapping[str, Tensor]) -> tuple[CAMPPlusConfig, dict[str, Tensor]]:
    """A public `campplus` checkpoint, batch norm not folded, to a `CAMPPlus`'s configuration and state dict.

    The dilations show in no tensor: they are those of the public model, 1 in the first block and 2 in the others.

    Raises:
        SpeechError: layers are missing, or some are left over.
    """
    source = "a CAM++ speaker encoder"
    channels, inputs, _ = shape_of(tensors, "xvector.tdnn.linear.weight", 3, source)
    narrow = shape_of(tensors, "xvector.block1.tdnnd1.linear1.weight", 3, source)[0]
    growth = shape_of(tensors, "xvector.block1.tdnnd1.cam_layer.linear_local.weight", 3, source)[0]
    front = shape_of(tensors, "head.conv1.weight", 4, source)[0]
    blocks = count(tensors, "xvector.block")
    config = CAMPPlusConfig(
        mel=replace(KALDI_FBANK, features=inputs * BANDS // front),
        dim=shape_of(tensors, "xvector.dense.linear.weight", 3, source)[0],
        front_channels=front,
        channels=channels,
        growth=growth,
        bottleneck=narrow // growth,
        layers=tuple(count(tensors, f"xvector.block{i + 1}.tdnnd") for i in range(blocks)),
        dilations=(1,) + (2,) * (blocks - 1),
    )
    out = renamed(tensors, dict(_campplus_names(config.layers)), source)
    out["out.weight"] = out["out.weight"].flatten(1)  # a convolution of kernel 1
    return config, out | _constants("fbank", LogMel(config.mel))


def _campplus_names(layers: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    """Public and own names of all layers of CAM++; the public ones count from 1 in places."""
    yield from {"head.conv1": "front.conv1", "head.bn1": "front.norm1"}.items()
    yield from {"head.conv2": "front.conv2", "head.bn2": "front.norm2"}.items()
    for i in range(4):
        public, own = f"head.layer{i // 2 + 1}.{i % 2}", f"front.blocks.{i}"
        yield from ((f"{public}.{theirs}", f"{own}.{ours}") for theirs, ours in _CAM_RESIDUAL.items())
        if i % 2 == 0:
            yield from ((f"{public}.shortcut.{part}", f"{own}.shortcut.{part}") for part in range(2))
    yield from {"xvector.tdnn.linear": "tdnn", "xvector.tdnn.nonlinear.batchnorm": "tdnn_norm"}.items()
    for i, depth in enumerate(layers):
        for j in range(depth):
            public, own = f"xvector.block{i + 1}.tdnnd{j + 1}", f"blocks.{i}.{j}"
            yield from ((f"{public}.{theirs}", f"{own}.{ours}") for theirs, ours in _CAM_LAYER.items())
        yield f"xvector.transit{i + 1}.nonlinear.batchnorm", f"transitions.{i}.norm"
        yield f"xvector.transit{i + 1}.linear", f"transitions.{i}.reduce"
    yield "xvector.out_nonlinear.batchnorm", "out_norm"
    yield from {"xvector.dense.linear": "out", "xvector.dense.nonlinear.batchnorm": "vector_norm"}.items()


def _constants(at: str, module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a module that has no weights (a filter bank, a grid); public files leave them to the program."""
    return {f"{at}.{name}": tensor for name, tensor in module.state_dict().items()}
