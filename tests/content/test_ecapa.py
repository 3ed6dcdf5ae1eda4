"""The WavLM speaker encoder against a plain reading of the original under its own names, and vectors averaged."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as f

from speech.content.ecapa import ECAPAConfig
from speech.content.reference import mean_vector
from speech.content.wavlm import WavLMConfig, WavLMSpeakerConfig, WavLMSpeakerEncoder, bucket
from speech.errors import SpeechError
from speech.hub.checkpoint import build
from speech.hub.meanvc.content import from_wavlm_ecapa
from speech.streaming.frames import Frames
from tests.content.small import noise

Tensors = dict[str, Tensor]

WAVLM = WavLMConfig(16, 3, 4, 20, 8, (10, 3, 2), (5, 2, 2), 6, 4, 16, 800)
CONFIG = WavLMSpeakerConfig(WAVLM, ECAPAConfig(16, 12, 4, 5, 10, 7, 6))
ROOT = "feature_extract.model"


@pytest.fixture(autouse=True)
def _inference() -> object:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def public() -> Tensors:
    """Random tensors under the names of the public checkpoint's group "model"."""
    shapes = {"feature_weight": (4,), f"{ROOT}.mask_emb": (16,), "loss_calculator.projection.weight": (9, 6)}
    shapes |= {f"{ROOT}.feature_extractor.conv_layers.{i}.0.weight": (8, c, k) for i, c, k in ((0, 1, 10), (1, 8, 3))}
    shapes |= {f"{ROOT}.feature_extractor.conv_layers.2.0.weight": (8, 8, 2)}
    shapes |= {f"{ROOT}.encoder.pos_conv.0.weight_g": (1, 1, 6), f"{ROOT}.encoder.pos_conv.0.weight_v": (16, 4, 6)}
    shapes |= {f"{ROOT}.encoder.pos_conv.0.bias": (16,)}
    shapes |= {f"{ROOT}.encoder.layers.0.self_attn.relative_attention_bias.weight": (16, 4)}
    norms = {f"{ROOT}.feature_extractor.conv_layers.{i}.2.1": 8 for i in range(3)}
    norms |= {f"{ROOT}.layer_norm": 8, f"{ROOT}.encoder.layer_norm": 16}
    linear: dict[str, tuple[int, ...]] = {f"{ROOT}.post_extract_proj": (16, 8)}
    for i in range(3):
        layer = f"{ROOT}.encoder.layers.{i}"
        shapes[f"{layer}.self_attn.grep_a"] = (1, 4, 1, 1)
        norms |= {f"{layer}.self_attn_layer_norm": 16, f"{layer}.final_layer_norm": 16}
        linear |= {f"{layer}.self_attn.{x}_proj": (16, 16) for x in ("q", "k", "v", "out")}
        linear |= {f"{layer}.self_attn.grep_linear": (8, 4), f"{layer}.fc1": (20, 16), f"{layer}.fc2": (16, 20)}
    batch_norms = {"layer1.bn": 12, "bn": 20}
    linear |= {"layer1.conv": (12, 16, 5), "conv": (10, 36, 1), "linear": (6, 20)}
    linear |= {"pooling.linear1": (7, 10, 1), "pooling.linear2": (10, 7, 1)}
    for layer in ("layer2", "layer3", "layer4"):
        linear |= {f"{layer}.Conv1dReluBn{i}.conv": (12, 12, 1) for i in (1, 2)}
        linear |= {f"{layer}.Res2Conv1dReluBn.convs.{i}": (3, 3, 3) for i in range(3)}
        linear |= {f"{layer}.SE_Connect.linear1": (5, 12), f"{layer}.SE_Connect.linear2": (12, 5)}
        batch_norms |= {f"{layer}.Conv1dReluBn{i}.bn": 12 for i in (1, 2)}
        batch_norms |= {f"{layer}.Res2Conv1dReluBn.bns.{i}": 3 for i in range(3)}
    for name, shape in linear.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name, size in (norms | batch_norms).items():
        shapes |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    for name, size in batch_norms.items():
        shapes |= {f"{name}.running_mean": (size,), f"{name}.running_var": (size,)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tensors = {name: 0.4 * torch.randn(shape) for name, shape in shapes.items()}
    counts = {f"{name}.num_batches_tracked": torch.tensor(7) for name in batch_norms}
    return {name: t.abs() + 0.5 if name.endswith("running_var") else t for name, t in tensors.items()} | counts


def encoder(tensors: Tensors) -> WavLMSpeakerEncoder:
    config, weights = from_wavlm_ecapa(tensors)
    assert config == CONFIG
    model = build(WavLMSpeakerEncoder, config, weights, "wavlm.pth")
    assert isinstance(model, WavLMSpeakerEncoder)
    return model.eval()


def part(p: Tensors, name: str) -> tuple[Tensor, Tensor]:
    return p[f"{name}.weight"], p[f"{name}.bias"]


def norm(p: Tensors, name: str, x: Tensor) -> Tensor:
    return f.layer_norm(x, x.shape[-1:], *part(p, name))


def distances(p: Tensors, t: int) -> Tensor:
    """The bias of every pair, [h, t, t], by T5's ranges: 4 of one distance each, 4 up to 800, in each direction."""
    ranges = []
    for distance in range(1 - t, t):
        n = abs(distance)
        n = n if n < 4 else min(4 + int(math.log(n / 4) / math.log(800 / 4) * 4), 7)
        ranges.append(n + (8 if distance > 0 else 0))
    table = p[f"{ROOT}.encoder.layers.0.self_attn.relative_attention_bias.weight"][ranges]  # [2 t - 1, h]
    return torch.stack([table[t - 1 - i : 2 * t - 1 - i] for i in range(t)]).permute(2, 0, 1)


def attention(p: Tensors, name: str, x: Tensor, bias: Tensor) -> Tensor:
    """One head of 4 channels after the other. x: [t, 16]."""
    q, k, v = (f.linear(x, *part(p, f"{name}.{y}_proj")) for y in "qkv")
    outs = []
    for h in range(4):
        own = slice(4 * h, 4 * h + 4)
        gates = f.linear(x[:, own], *part(p, f"{name}.grep_linear")).view(-1, 2, 4).sum(-1).sigmoid()
        gain = gates[:, :1] * (gates[:, 1:] * p[f"{name}.grep_a"][0, h, 0, 0] - 1) + 2
        outs.append((q[:, own] @ k[:, own].T / 2 + gain * bias[h]).softmax(-1) @ v[:, own])
    return f.linear(torch.cat(outs, 1), *part(p, f"{name}.out_proj"))


def hidden_states(p: Tensors, samples: Tensor) -> list[Tensor]:
    """WavLM's hidden states, each [t, 16]. samples: [n]."""
    x = f.layer_norm(samples, samples.shape)[None]
    for i, stride in enumerate((5, 2, 2)):
        layer = f"{ROOT}.feature_extractor.conv_layers.{i}"
        x = f.gelu(norm(p, f"{layer}.2.1", f.conv1d(x, p[f"{layer}.0.weight"], stride=stride).T).T)
    x = f.linear(norm(p, f"{ROOT}.layer_norm", x.T), *part(p, f"{ROOT}.post_extract_proj"))
    conv = f"{ROOT}.encoder.pos_conv.0"
    direction = p[f"{conv}.weight_v"]
    weight = p[f"{conv}.weight_g"] * direction / direction.square().sum((0, 1), keepdim=True).sqrt()
    x = x + f.gelu(f.conv1d(x.T, weight, p[f"{conv}.bias"], padding=3, groups=4)[:, :-1]).T
    bias, states = distances(p, len(x)), []
    for i in range(3):
        layer = f"{ROOT}.encoder.layers.{i}"
        states.append(x)
        x = x + attention(p, f"{layer}.self_attn", norm(p, f"{layer}.self_attn_layer_norm", x), bias)
        inner = f.gelu(f.linear(norm(p, f"{layer}.final_layer_norm", x), *part(p, f"{layer}.fc1")))
        x = x + f.linear(inner, *part(p, f"{layer}.fc2"))
    return [*states, norm(p, f"{ROOT}.encoder.layer_norm", x)]


def conv_relu_norm(p: Tensors, conv: str, bn: str, x: Tensor, dilation: int = 1) -> Tensor:
    weight, bias = part(p, conv)
    y = f.conv1d(x, weight, bias, padding=weight.shape[2] // 2 * dilation, dilation=dilation).relu()
    return f.batch_norm(y, p[f"{bn}.running_mean"], p[f"{bn}.running_var"], *part(p, bn))


def ecapa(p: Tensors, x: Tensor) -> Tensor:
    """[t, 16] -> [6]."""
    x = x.T[None] + 1e-6
    x = (x - x.mean(2, keepdim=True)) / (x.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
    x = conv_relu_norm(p, "layer1.conv", "layer1.bn", x)
    outs = []
    for layer, dilation in (("layer2", 2), ("layer3", 3), ("layer4", 4)):
        y = conv_relu_norm(p, f"{layer}.Conv1dReluBn1.conv", f"{layer}.Conv1dReluBn1.bn", x)
        groups, before = [], torch.zeros(1)
        for i in range(3):
            name = f"{layer}.Res2Conv1dReluBn"
            before = conv_relu_norm(
                p, f"{name}.convs.{i}", f"{name}.bns.{i}", y[:, 3 * i : 3 * i + 3] + before, dilation
            )
            groups.append(before)
        y = torch.cat([*groups, y[:, 9:]], 1)
        y = conv_relu_norm(p, f"{layer}.Conv1dReluBn2.conv", f"{layer}.Conv1dReluBn2.bn", y)
        gate = f.linear(
            f.linear(y.mean(2), *part(p, f"{layer}.SE_Connect.linear1")).relu(), *part(p, f"{layer}.SE_Connect.linear2")
        ).sigmoid()
        x = x + y * gate[..., None]
        outs.append(x)
    x = f.conv1d(torch.cat(outs, 1), *part(p, "conv")).relu()
    weight = f.conv1d(f.conv1d(x, *part(p, "pooling.linear1")).tanh(), *part(p, "pooling.linear2")).softmax(2)
    mean = (weight * x).sum(2)
    deviation = ((weight * x**2).sum(2) - mean**2).clamp(min=1e-9).sqrt()
    y = torch.cat([mean, deviation], 1)
    y = f.batch_norm(y, p["bn.running_mean"], p["bn.running_var"], *part(p, "bn"))
    return f.linear(y, *part(p, "linear"))[0]


def test_the_public_model_computes_the_same_here(public: Tensors) -> None:
    model, samples = encoder(public), noise(0.6)
    wanted = hidden_states(public, samples)
    got = list(model.wavlm.hidden(f.layer_norm(samples, samples.shape)[None]))
    for ours, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(ours[0], theirs, atol=1e-4, rtol=1e-4)
    mixed = sum(weight * state for weight, state in zip(public["feature_weight"].softmax(0), wanted, strict=True))
    torch.testing.assert_close(model.embed(samples), ecapa(public, mixed), atol=1e-4, rtol=1e-3)


def test_level_does_not_matter_and_rows_stay_apart(public: Tensors) -> None:
    model, samples = encoder(public), noise(0.6)
    rows = torch.stack([noise(0.6, 1), 0.1 * samples.float()])
    torch.testing.assert_close(model(Frames.whole(rows))[1], model.embed(samples), atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (torch.zeros(16000), "got silence"),
        (noise(0.3), r"at least 0\.5 s, got 0\.30 s"),
        (torch.full((16000,), torch.nan), "got NaN or infinity"),
        (torch.zeros(2, 16000), "expected mono"),
    ],
)
def test_useless_references_are_refused(public: Tensors, samples: Tensor, words: str) -> None:
    with pytest.raises(SpeechError, match=words):
        encoder(public).embed(samples)


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("feature_weight", None, "mix is missing"),
        ("layer3.SE_Connect.linear1.weight", torch.zeros(4, 12), "squeeze.weight has shape"),
        (f"{ROOT}.encoder.pos_conv.0.weight_g", torch.zeros(16, 1, 1), r"each of the 6 taps .* got shape \[16, 1, 1\]"),
        (f"{ROOT}.encoder.pos_conv.0.weight_v", None, "weight_v .* got none"),
        (f"{ROOT}.encoder.layers.1.self_attn.relative_attention_bias.weight", torch.zeros(16, 4), "is not known"),
        (f"{ROOT}.encoder.layers.1.self_attn.grep_linear.weight", torch.zeros(6, 4), "gate.weight has shape"),
    ],
)
def test_other_models_are_refused(public: Tensors, name: str, tensor: Tensor | None, words: str) -> None:
    changed = {key: value for key, value in public.items() if key != name}
    with pytest.raises(SpeechError, match=words):
        encoder(changed if tensor is None else changed | {name: tensor})


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SpeechError, match="7 kernels, 2 strides"):
        WavLMConfig(conv_strides=(5, 2))
    with pytest.raises(SpeechError, match="got scale 7 and 512 channels"):
        ECAPAConfig(scale=7)


def test_ranges_of_distances() -> None:
    near = bucket(torch.tensor([0, -1, 1, -79, -80, 80]), 320, 800)
    far = bucket(torch.tensor([-799, -800, -5000, 5000]), 320, 800)
    assert near.tolist() == [0, 1, 161, 79, 80, 240] and far.tolist() == [159, 159, 159, 319]


def test_several_references_make_one_vector() -> None:
    a, b = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 1.0])
    torch.testing.assert_close(mean_vector([a]), a)
    torch.testing.assert_close(mean_vector([a, b]), torch.tensor([2.0, 2.0]) / 2**0.5)  # of length 2, half-way
    for vectors, words in (([], "got sizes \\[\\]"), ([a, torch.ones(3)], "of one size"), ([a, -3 * a], "cancel out")):
        with pytest.raises(SpeechError, match=words):
            mean_vector(vectors)
