"""Variants of `.nemo` models against a plain restatement of the original's mathematics on the original's tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from speech.asr.model import FastConformer
from speech.errors import SpeechError
from speech.hub.checkpoint import load_folder
from speech.hub.nemo.file import convert, convert_config
from speech.streaming.driver import Driver
from speech.streaming.frames import Frames
from tests.hub.foreign import PIECES, archive, configured, ctc_only, rnnt_only, weights

SYMMETRIC: dict[str, Any] = {"encoder__causal_downsampling": False}
REGULAR: dict[str, Any] = {"encoder__att_context_style": "regular", "encoder__att_context_size": [6, 2]}
CENTRED: dict[str, Any] = {"encoder__conv_context_size": None}
BATCH_NORM: dict[str, Any] = {"encoder__conv_norm_type": "batch_norm"}
WIDE: dict[str, Any] = {"encoder__feat_in": 128, "preprocessor__features": 128}
PLAIN: dict[str, Any] = {"encoder__use_bias": False, "encoder__xscaling": False, "joint__jointnet__dropout": 0.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "causal chunked": {},
    "symmetric subsampling": SYMMETRIC,
    "regular context": REGULAR,
    "regular context, centred convolution": REGULAR | CENTRED,
    "batch norm": BATCH_NORM,
    "128 mels": WIDE,
    "no biases, no scaling": PLAIN,
    "flat context, convolution by a list": {"encoder__att_context_size": [8, 0], "encoder__conv_context_size": [3, 1]},
    "unlimited context beside limited ones": {"encoder__att_context_size": [[-1, -1], [8, 1]]},
    "offline shape with limited context": SYMMETRIC | REGULAR | CENTRED | BATCH_NORM | WIDE | PLAIN,
}


class Reference:
    """The original's encoder on one whole signal, channels first, positions one by one."""

    def __init__(self, tree: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.tree, self.e, self.tensors = tree, tree["encoder"], tensors
        sizes = self.e["att_context_size"]
        pairs = sizes if isinstance(sizes[0], list) else [sizes]
        self.left, self.right = next(pair for pair in pairs if pair[1] >= 0)

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.tensors[f"{name}.weight"].squeeze(-1), self.tensors.get(f"{name}.bias"))

    def norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def __call__(self, mel: Tensor) -> Tensor:
        """mel: [t, features] -> [t', d]."""
        x = self.subsample(mel) * (self.e["d_model"] ** 0.5 if self.e.get("xscaling", True) else 1.0)
        for i in range(self.e["n_layers"]):
            at = f"encoder.layers.{i}"
            x = x + 0.5 * self.feed_forward(f"{at}.feed_forward1", self.norm(f"{at}.norm_feed_forward1", x))
            x = x + self.attend(f"{at}.self_attn", self.norm(f"{at}.norm_self_att", x))
            x = x + self.convolve(f"{at}.conv", self.norm(f"{at}.norm_conv", x))
            x = x + 0.5 * self.feed_forward(f"{at}.feed_forward2", self.norm(f"{at}.norm_feed_forward2", x))
            x = self.norm(f"{at}.norm_out", x)
        return x

    def subsample(self, mel: Tensor) -> Tensor:
        x = mel[None, None]
        pads = (2, 1, 2, 1) if self.e["causal_downsampling"] else (1, 1, 1, 1)
        for name, then in (("0", True), ("2", False), ("3", True), ("5", False), ("6", True)):
            w, b = (self.tensors[f"encoder.pre_encode.conv.{name}.{part}"] for part in ("weight", "bias"))
            strided = w.shape[-1] == 3
            groups = x.shape[1] // w.shape[1]
            x = F.conv2d(F.pad(x, pads) if strided else x, w, b, stride=2 if strided else 1, groups=groups)
            x = x.relu() if then else x
        return self.linear("encoder.pre_encode.out", x.transpose(1, 2).flatten(2)[0])

    def feed_forward(self, at: str, x: Tensor) -> Tensor:
        return self.linear(f"{at}.linear2", F.silu(self.linear(f"{at}.linear1", x)))

    def attend(self, at: str, x: Tensor) -> Tensor:
        t, d, h = *x.shape, self.e["n_heads"]
        q, k, v = (self.linear(f"{at}.linear_{name}", x).view(t, h, -1) for name in "qkv")
        i, j = torch.arange(t)[:, None], torch.arange(t)
        rate = 10000 ** (-torch.arange(0, d, 2) / d)
        angle = (i - j)[..., None] * rate
        position = self.linear(f"{at}.linear_pos", torch.stack([angle.sin(), angle.cos()], -1).flatten(2)).view(
            t, t, h, -1
        )
        u, w = self.tensors[f"{at}.pos_bias_u"], self.tensors[f"{at}.pos_bias_v"]
        score = torch.einsum("ihe,jhe->hij", q + u, k) + torch.einsum("ihe,ijhe->hij", q + w, position)
        if self.e["att_context_style"] == "regular":
            seen = (j >= i - self.left) & (j <= i + self.right)
        else:
            ago = i // (self.right + 1) - j // (self.right + 1)
            seen = (ago >= 0) & (ago <= self.left // (self.right + 1))
        weight = (score * (d // h) ** -0.5).masked_fill(~seen, -torch.inf).softmax(-1)
        return self.linear(f"{at}.linear_out", torch.einsum("hij,jhe->ihe", weight, v).flatten(1))

    def convolve(self, at: str, x: Tensor) -> Tensor:
        kernel, context = self.e["conv_kernel_size"], self.e["conv_context_size"]
        left = kernel - 1 if context == "causal" else context[0] if context else kernel // 2
        x = F.glu(self.linear(f"{at}.pointwise_conv1", x), -1)
        x = F.pad(x.T, (left, kernel - 1 - left))
        x = F.conv1d(
            x, self.tensors[f"{at}.depthwise_conv.weight"], self.tensors.get(f"{at}.depthwise_conv.bias"), groups=len(x)
        )
        x = x.T
        if self.e["conv_norm_type"] == "batch_norm":
            names = ("running_mean", "running_var", "weight", "bias")
            mean, var, weight, bias = (self.tensors[f"{at}.batch_norm.{name}"] for name in names)
            x = F.batch_norm(x, mean, var, weight, bias)
        else:
            x = self.norm(f"{at}.batch_norm", x)
        return self.linear(f"{at}.pointwise_conv2", F.silu(x))


def imported(folder: Path, tree: dict[str, Any], **how: Any) -> FastConformer:
    """The model of a configuration with random tensors, after the way through an archive and a checkpoint folder."""
    source = archive(folder / "model.nemo", tree, **how)
    checkpoint = load_folder(convert(source, folder / "made"))
    assert checkpoint.tokenizer.read_text().split() == PIECES
    assert isinstance(checkpoint.model, FastConformer)
    return checkpoint.model


@torch.inference_mode()
@pytest.mark.parametrize("variant", VARIANTS)
def test_encoder_equals_the_reference(tmp_path: Path, variant: str) -> None:
    tree = configured(**VARIANTS[variant])
    model = imported(tmp_path, tree)
    mel = torch.randn(203, tree["encoder"]["feat_in"])
    wanted = Reference(tree, weights(tree))(mel)
    got = model.encoder(Frames.whole(mel[None])).data[0]
    torch.testing.assert_close(got, wanted, atol=2e-5, rtol=1e-5)
    driver = Driver(model.encoder, model.encoder.grain, shape=mel.shape[1:])
    streamed = torch.cat([*(driver.push(part) for part in mel.split(50)), driver.flush()])
    torch.testing.assert_close(streamed, wanted, atol=2e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("dropout", [0.2, 0.0])
def test_transducer_equals_the_reference(tmp_path: Path, layers: int, dropout: float) -> None:
    tree = configured(decoder__prednet__pred_rnn_layers=layers, joint__jointnet__dropout=dropout)
    model, tensors = imported(tmp_path, tree), weights(tree)
    assert model.prediction is not None
    assert model.joint is not None
    lstm = torch.nn.LSTM(12, 12, layers)
    stem = "decoder.prediction.dec_rnn.lstm."
    lstm.load_state_dict({k.removeprefix(stem): v for k, v in tensors.items() if k.startswith(stem)})
    tokens = [3, 0, 5]
    embedded = torch.stack([torch.zeros(12), *tensors["decoder.prediction.embed.weight"][tokens]])
    predicted = lstm(embedded)[0]
    torch.testing.assert_close(model.prediction(torch.tensor([tokens]))[0], predicted, atol=1e-6, rtol=1e-5)
    acoustic = torch.randn(4, 16)
    enc, pred = (
        F.linear(x, tensors[f"joint.{name}.weight"], tensors[f"joint.{name}.bias"])
        for name, x in (("enc", acoustic), ("pred", predicted))
    )
    last = f"joint.joint_net.{2 if dropout else 1}"
    wanted = F.linear((enc[:, None] + pred).relu(), tensors[f"{last}.weight"], tensors[f"{last}.bias"])
    torch.testing.assert_close(model.joint(acoustic[None], predicted[None])[0], wanted, atol=1e-6, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize(("tree", "head"), [(configured(), "ctc_decoder"), (ctc_only(), "decoder")])
def test_ctc_equals_the_reference(tmp_path: Path, tree: dict[str, Any], head: str) -> None:
    model, tensors = imported(tmp_path, tree), weights(tree)
    assert model.ctc is not None
    x = torch.randn(1, 16, 5)
    w, b = (tensors[f"{head}.decoder_layers.0.{part}"] for part in ("weight", "bias"))
    torch.testing.assert_close(model.ctc(x.mT), F.conv1d(x, w, b).mT.log_softmax(-1), atol=1e-6, rtol=1e-5)
    assert (model.prediction is None) == (head == "decoder")


def test_transducer_alone_has_no_ctc(tmp_path: Path) -> None:
    model = imported(tmp_path, rnnt_only())
    assert model.ctc is None
    assert model.prediction is not None


def test_stored_window_and_filter_bank_are_used(tmp_path: Path) -> None:
    tensors = weights(configured())
    tensors["preprocessor.featurizer.window"] = torch.rand(400)
    model = imported(tmp_path, configured(), tensors=tensors)
    assert torch.equal(model.mel.bank, tensors["preprocessor.featurizer.fb"][0])
    assert torch.equal(model.mel.window, tensors["preprocessor.featurizer.window"])


@pytest.mark.parametrize("how", [{"mode": "w:gz"}, {"prefix": ""}])
def test_archives_of_all_ages(tmp_path: Path, how: dict[str, str]) -> None:
    imported(tmp_path, configured(), **how)


def test_an_old_position_table_is_ignored(tmp_path: Path) -> None:
    imported(tmp_path, configured(), tensors=weights(configured()) | {"encoder.pos_enc.pe": torch.zeros(1, 9, 16)})


def test_absent_keys_mean_what_the_original_assumes() -> None:
    absent = ("use_bias", "xscaling", "causal_downsampling", "conv_norm_type", "att_context_style", "conv_kernel_size")
    tree = configured(
        encoder__att_context_size=[8, 2], **{f"encoder__{key}": ... for key in (*absent, "conv_context_size")}
    )
    encoder = convert_config(tree).encoder
    assert (encoder.bias, encoder.scale_input, encoder.causal_subsampling, encoder.chunked) == (
        True,
        True,
        False,
        False,
    )
    assert encoder.conv_norm == "batch_norm"
    assert encoder.conv_context == (15, 15)
    assert convert_config(configured(preprocessor__preemph=None)).mel.pre_emphasis == 0.0
    assert convert_config(configured()).mel.pre_emphasis == 0.97


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "offline": ({"encoder__att_context_size": [-1, -1]}, "cannot be streamed"),
    "endless past": ({"encoder__att_context_size": [[-1, 3]]}, "cannot be streamed"),
    "uneven": ({"encoder__att_context_size": [8, 2]}, "multiple of the look-ahead plus one"),
    "odd context": ({"encoder__att_context_size": ["a", 2]}, "pairs of integers"),
    "normalised": ({"preprocessor__normalize": "per_feature"}, "per_feature.*cannot be streamed"),
    "normalised by default": ({"preprocessor__normalize": ...}, "per_feature"),
    "durations": ({"joint__num_extra_outputs": 5}, "num_extra_outputs"),
    "class": ({"target": "nemo.collections.asr.models.EncDecMultiTaskModel"}, "EncDecMultiTaskModel"),
    "no class": ({"target": ...}, "target"),
    "kernel": ({"encoder__conv_context_size": [1, 1]}, "kernel of 5"),
    "convolution beyond the chunk": (CENTRED, "causal convolution beside chunked attention"),
    "striding": ({"encoder__subsampling": "striding"}, "'striding'"),
    "norm": ({"encoder__conv_norm_type": "instance_norm"}, "instance_norm"),
    "attention": ({"encoder__self_attention_model": "rel_pos_local_attn"}, "rel_pos_local_attn"),
    "unresolved": ({"encoder__d_model": "${model.d}"}, r"encoder.d_model .* to be int, got '\$\{model.d\}'"),
    "missing": ({"encoder__n_layers": ...}, "encoder.n_layers .* got nothing"),
    "truth for a number": ({"encoder__n_heads": True}, "encoder.n_heads .* to be int, got True"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_configurations_that_are_refused(case: str) -> None:
    changes, message = REFUSED[case]
    with pytest.raises(SpeechError, match=message):
        convert_config(configured(**changes))


def _without(name: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in weights(configured()).items() if key != name}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (_without("encoder.layers.1.self_attn.linear_k.weight"), "linear_k.weight .* missing"),
        (_without("encoder.layers.1.norm_out.weight"), "encoder.layers.1.norm_out.weight .* missing"),
        (_without("encoder.layers.1.norm_out.bias"), "norm.bias is missing"),
        (_without("joint.joint_net.2.weight"), "one linear layer in joint.joint_net"),
        (_without("preprocessor.featurizer.fb"), "featurizer.fb"),
        (_without("ctc_decoder.decoder_layers.0.weight"), "ctc_decoder.decoder_layers.0.bias"),
        (weights(configured()) | {"encoder.prompt.weight": torch.zeros(1)}, "encoder.prompt.weight.*not supported"),
        (weights(configured(encoder__d_model=8)), r"shape \[.*\] instead of \[.*\], and \d+ more"),
        (weights(configured(encoder__n_layers=3)), "encoder.layers.2"),
    ],
)
def test_tensors_that_do_not_fit(tmp_path: Path, tensors: dict[str, Tensor], message: str) -> None:
    source = archive(tmp_path / "model.nemo", configured(), tensors)
    with pytest.raises(SpeechError, match=message):
        convert(source, tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["model.nemo"]
