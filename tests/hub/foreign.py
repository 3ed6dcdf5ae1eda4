"""Makes `.nemo` archives of tiny random recognisers, by the published layout: configuration, tensors, tokenizer."""

from __future__ import annotations

import copy
import io
import tarfile
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

PIECES = ["<unk>", "the", "cat", "sat", "##s", "on", "mat"]

HYBRID: dict[str, Any] = {
    "target": "nemo.collections.asr.models.hybrid_rnnt_ctc_bpe_models.EncDecHybridRNNTCTCBPEModel",
    "tokenizer": {"type": "wpe", "vocab_path": "nemo:0123_vocab.txt"},
    "preprocessor": {
        "sample_rate": 16000,
        "normalize": "NA",
        "window_size": 0.025,
        "window_stride": 0.01,
        "features": 80,
        "n_fft": 512,
    },
    "encoder": {
        "feat_in": 80,
        "n_layers": 2,
        "d_model": 16,
        "n_heads": 2,
        "ff_expansion_factor": 2,
        "subsampling": "dw_striding",
        "subsampling_factor": 8,
        "subsampling_conv_channels": 4,
        "causal_downsampling": True,
        "att_context_size": [[8, 3], [8, 0]],
        "att_context_style": "chunked_limited",
        "conv_kernel_size": 5,
        "conv_context_size": "causal",
        "conv_norm_type": "layer_norm",
    },
    "decoder": {"prednet": {"pred_hidden": 12, "pred_rnn_layers": 1}, "vocab_size": len(PIECES)},
    "joint": {"jointnet": {"joint_hidden": 10, "activation": "relu", "dropout": 0.2}, "num_classes": len(PIECES)},
    "aux_ctc": {"decoder": {"feat_in": 16, "num_classes": len(PIECES)}},
}


def configured(**changes: Any) -> dict[str, Any]:
    """The hybrid's configuration with the values at dotted paths (`__` for `.`) replaced, or removed where `...`."""
    tree = copy.deepcopy(HYBRID)
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = tree
        for key in parents:
            node = node.setdefault(key, {})
        if value is ...:
            node.pop(last, None)
        else:
            node[last] = value
    return tree


def ctc_only() -> dict[str, Any]:
    """The configuration of a model with a CTC head alone."""
    target = "nemo.collections.asr.models.ctc_bpe_models.EncDecCTCModelBPE"
    return configured(target=target, decoder={"num_classes": len(PIECES)}, joint=..., aux_ctc=...)


def rnnt_only() -> dict[str, Any]:
    """The configuration of a model with a transducer alone."""
    return configured(target="nemo.collections.asr.models.rnnt_bpe_models.EncDecRNNTBPEModel", aux_ctc=...)


def weights(tree: dict[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """Random tensors under the names and shapes that the original gives a model of this configuration."""
    e, generator = tree["encoder"], torch.Generator().manual_seed(seed)
    d, c, bias, v = e["d_model"], e["subsampling_conv_channels"], e.get("use_bias", True), len(PIECES) + 1
    out: dict[str, Tensor] = {}

    def put(name: str, *shape: int, bias: bool = True, centre: float = 0.0) -> None:
        fan = max(1, torch.Size(shape[1:]).numel())
        out[f"{name}.weight"] = centre + torch.randn(shape, generator=generator) / fan**0.5 * (0.2 if centre else 1.0)
        if bias:
            out[f"{name}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)

    features, p = e["feat_in"], tree["preprocessor"]
    out["preprocessor.featurizer.window"] = torch.hann_window(
        round(p["window_size"] * p["sample_rate"]), periodic=False
    )
    out["preprocessor.featurizer.fb"] = torch.rand(1, features, p["n_fft"] // 2 + 1, generator=generator) / 100
    bins, pad = features, 3 if e.get("causal_downsampling") else 2
    for name, inputs, kernel in (("0", 1, 3), ("2", 1, 3), ("3", c, 1), ("5", 1, 3), ("6", c, 1)):
        put(f"encoder.pre_encode.conv.{name}", c, inputs, kernel, kernel)
        bins = (bins + pad - 3) // 2 + 1 if kernel == 3 else bins
    put("encoder.pre_encode.out", d, c * bins)
    for i in range(e["n_layers"]):
        at, hidden = f"encoder.layers.{i}", d * e["ff_expansion_factor"]
        for norm in ("feed_forward1", "self_att", "conv", "feed_forward2", "out"):
            put(f"{at}.norm_{norm}", d, centre=1.0)
        for k in "12":
            put(f"{at}.feed_forward{k}.linear1", hidden, d, bias=bias)
            put(f"{at}.feed_forward{k}.linear2", d, hidden, bias=bias)
        for name in ("q", "k", "v", "out"):
            put(f"{at}.self_attn.linear_{name}", d, d, bias=bias)
        put(f"{at}.self_attn.linear_pos", d, d, bias=False)
        for x in "uv":
            shape = (e["n_heads"], d // e["n_heads"])
            out[f"{at}.self_attn.pos_bias_{x}"] = torch.randn(shape, generator=generator) / 4
        put(f"{at}.conv.pointwise_conv1", 2 * d, d, 1, bias=bias)
        put(f"{at}.conv.depthwise_conv", d, 1, e["conv_kernel_size"], bias=bias)
        put(f"{at}.conv.pointwise_conv2", d, d, 1, bias=bias)
        put(f"{at}.conv.batch_norm", d, centre=1.0)
        if e["conv_norm_type"] == "batch_norm":
            out[f"{at}.conv.batch_norm.running_mean"] = 0.2 * torch.randn(d, generator=generator)
            out[f"{at}.conv.batch_norm.running_var"] = 0.5 + torch.rand(d, generator=generator)
            out[f"{at}.conv.batch_norm.num_batches_tracked"] = torch.tensor(7)
    if "prednet" in tree["decoder"]:
        n, j = tree["decoder"]["prednet"]["pred_hidden"], tree["joint"]["jointnet"]["joint_hidden"]
        put("decoder.prediction.embed", v, n, bias=False)
        out["decoder.prediction.embed.weight"][-1] = 0
        for layer in range(tree["decoder"]["prednet"]["pred_rnn_layers"]):
            for name, shape in (
                ("weight_ih", (4 * n, n)),
                ("weight_hh", (4 * n, n)),
                ("bias_ih", (4 * n,)),
                ("bias_hh", (4 * n,)),
            ):
                tensor = torch.randn(shape, generator=generator) / n**0.5
                out[f"decoder.prediction.dec_rnn.lstm.{name}_l{layer}"] = tensor
        put("joint.pred", j, n)
        put("joint.enc", j, d)
        put(f"joint.joint_net.{2 if tree['joint']['jointnet'].get('dropout') else 1}", v, j)
    if "aux_ctc" in tree or "prednet" not in tree["decoder"]:
        put(f"{'ctc_decoder' if 'aux_ctc' in tree else 'decoder'}.decoder_layers.0", v, d, 1)
    return out


def member(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a plain file to an archive."""
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def saved(value: Any) -> bytes:
    """What `torch.save` writes."""
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def archive(
    path: Path, tree: dict[str, Any] | None = None, tensors: Any = None, mode: str = "w", prefix: str = "./"
) -> Path:
    """Write a `.nemo` file of a configuration and its tensors; `mode` "w:gz" compresses it."""
    tree = configured() if tree is None else tree
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        member(file, f"{prefix}0123_vocab.txt", "\n".join(PIECES).encode())
        member(file, f"{prefix}model_config.yaml", yaml.safe_dump(tree).encode())
        member(file, f"{prefix}model_weights.ckpt", saved(weights(tree) if tensors is None else tensors))
    return path
