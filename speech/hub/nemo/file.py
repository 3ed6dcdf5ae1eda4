"""Import of `.nemo` archives: cache-aware FastConformer recognisers with CTC, transducer or both heads."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal, cast

from speech.asr.encoder import EncoderConfig
from speech.asr.model import FastConformer, FastConformerConfig, PredictionConfig
from speech.audio.mel import MelConfig
from speech.errors import SpeechError
from speech.hub.archive import Archive, read_tensors
from speech.hub.checkpoint import build, save, tokenizer_named
from speech.hub.nemo.weights import convert_weights
from speech.hub.schema import read_yaml, shown

MODELS = {
    "EncDecHybridRNNTCTCBPEModel": {"ctc", "rnnt"},
    "EncDecCTCModelBPE": {"ctc"},
    "EncDecRNNTBPEModel": {"rnnt"},
}
"""The heads of the model classes that are read, by the last part of the archive's `target`."""

_TEXT_LIMIT = 64 << 20  # bytes of a configuration or tokenizer file


class Tree:
    """A foreign configuration whose values are read by dotted path, with their types checked."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self._tree = tree

    def raw(self, path: str, default: Any = None) -> Any:
        """The value at `path`, null included, or `default` where the key is absent."""
        value: Any = self._tree
        for key in path.split("."):
            if not isinstance(value, dict) or key not in value:
                return default
            value = value[key]
        return value

    def get(self, path: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        """The value at `path`, of one of the types `kind`; where it is absent or null `default`, else an error."""
        value = self.raw(path)
        value = default if value is None else value
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            names = " or ".join(k.__name__ for k in kinds)
            got = "nothing" if value is None else shown(value)
            raise SpeechError(f"expected {path} in the .nemo configuration to be {names}, got {got}")
        return value

    def number(self, path: str, default: float) -> float:
        """The int or float at `path`."""
        return float(self.get(path, (int, float), default))

    def expect(self, path: str, allowed: tuple[Any, ...], default: Any = None) -> None:
        """Refuse any value at `path` but the allowed ones."""
        value = self.raw(path, default)
        if value not in allowed:
            names = " or ".join(repr(a) for a in allowed)
            raise SpeechError(
                f"expected {path} in the .nemo configuration to be {names}, got {shown(value)}: "
                "this variant is not supported"
            )


def convert(path: Path, folder: Path, card: str | None = None) -> Path:
    """Convert a `.nemo` archive into a checkpoint folder, kept in the precision of its weights; returns `folder`.

    card: the text of the model card; by default a few lines that name the file.

    Raises:
        SpeechError: the archive is damaged or unsafe, or holds a model that is not supported.
    """
    with Archive(path) as archive:
        tree = _read_config(archive)
        config = convert_config(tree)
        with archive.open("model_weights.ckpt") as file:
            tensors = read_tensors(file, f"model_weights.ckpt in {path}")
        name, data = _read_tokenizer(archive, Tree(tree))
    batch_norm = config.encoder.conv_norm == "batch_norm"
    weights = convert_weights(tensors, layers=config.encoder.layers, batch_norm=batch_norm)
    model = build(FastConformer, config, weights, str(path))
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = Path(scratch) / name
        tokenizer.write_bytes(data)
        return save(folder, model, card or _card(path, tree), tokenizer_named(tokenizer), dtype=None)


def convert_config(tree: dict[str, Any]) -> FastConformerConfig:
    """The configuration of a NeMo model (`model_config.yaml`) as ours.

    Raises:
        SpeechError: a value is missing, of a wrong type, or asks for what is not supported.
    """
    source = Tree(tree)
    target = source.get("target", str).rpartition(".")[2]
    if target not in MODELS:
        raise SpeechError(f"expected a .nemo model of class {', '.join(MODELS)}, got {target}: it cannot be imported")
    heads = MODELS[target]
    return FastConformerConfig(
        mel=_mel(source),
        encoder=_encoder(source),
        vocabulary=source.get("joint.num_classes" if "rnnt" in heads else "decoder.num_classes", int),
        ctc="ctc" in heads,
        prediction=_prediction(source) if "rnnt" in heads else None,
    )


def _mel(source: Tree) -> MelConfig:
    """Front end; the window and the filter bank themselves come from the file's buffers."""
    normalize = source.raw("preprocessor.normalize", "per_feature")  # NeMo's own default
    if isinstance(normalize, dict) or normalize in ("per_feature", "all_features"):
        raise SpeechError(
            f"expected features without normalisation (preprocessor.normalize: NA), got {shown(normalize)}: "
            "statistics over the whole recording cannot be streamed, so this offline model cannot be imported"
        )
    source.expect("preprocessor.log", (True,), True)
    source.expect("preprocessor.log_zero_guard_type", ("add",), "add")
    source.expect("preprocessor.mag_power", (2.0,), 2.0)
    source.expect("preprocessor.frame_splicing", (1,), 1)
    source.expect("preprocessor.exact_pad", (False,), False)
    rate = source.get("preprocessor.sample_rate", int, 16000)
    window = round(source.number("preprocessor.window_size", 0.02) * rate)
    emphasised = source.raw("preprocessor.preemph", 0.97) is not None
    return MelConfig(
        sample_rate=rate,
        features=source.get("preprocessor.features", int, 64),
        n_fft=source.get("preprocessor.n_fft", int, 1 << (window - 1).bit_length()),
        window=window,
        hop=round(source.number("preprocessor.window_stride", 0.01) * rate),
        pre_emphasis=source.number("preprocessor.preemph", 0.97) if emphasised else 0.0,
        floor=source.number("preprocessor.log_zero_guard_value", 2.0**-24),
    )


def _encoder(source: Tree) -> EncoderConfig:
    """Encoder; a default here is what NeMo assumes where the key is absent."""
    source.expect("encoder.subsampling", ("dw_striding",))
    source.expect("encoder.subsampling_factor", (8,))
    source.expect("encoder.self_attention_model", ("rel_pos",), "rel_pos")
    source.expect("encoder.untie_biases", (True,), True)
    source.expect("encoder.reduction", (None,))
    source.expect("encoder.conv_norm_type", ("layer_norm", "batch_norm"), "batch_norm")
    source.expect("encoder.att_context_style", ("chunked_limited", "regular"), "regular")
    dim = source.get("encoder.d_model", int)
    source.expect("encoder.feat_out", (-1, dim), -1)
    channels = source.get("encoder.subsampling_conv_channels", int, -1)
    chunked = source.get("encoder.att_context_style", str, "regular") == "chunked_limited"
    contexts, conv_context = _contexts(source, chunked=chunked), _conv_context(source)
    if chunked and conv_context[1] and any(ahead for _, ahead in contexts):
        raise SpeechError(
            f"expected a causal convolution beside chunked attention, got encoder.conv_context_size "
            f"{list(conv_context)}: it looks beyond the chunk in every layer, so this offline model cannot be streamed"
        )
    return EncoderConfig(
        features=source.get("encoder.feat_in", int),
        dim=dim,
        layers=source.get("encoder.n_layers", int),
        heads=source.get("encoder.n_heads", int, 4),
        ff_expansion=source.get("encoder.ff_expansion_factor", int, 4),
        subsampling_channels=dim if channels == -1 else channels,
        causal_subsampling=source.get("encoder.causal_downsampling", bool, False),
        conv_context=conv_context,
        conv_norm=cast(Literal["layer_norm", "batch_norm"], source.get("encoder.conv_norm_type", str, "batch_norm")),
        bias=source.get("encoder.use_bias", bool, True),
        scale_input=source.get("encoder.xscaling", bool, True),
        contexts=contexts,
        chunked=chunked,
        dropout=source.number("encoder.dropout", 0.1),
        attention_dropout=source.number("encoder.dropout_att", 0.0),
    )


def _contexts(source: Tree, *, chunked: bool) -> tuple[tuple[int, int], ...]:
    """All bounded (left, look-ahead) pairs, the default first. NeMo writes one pair flat and -1 for "unlimited"."""
    listed = source.get("encoder.att_context_size", list, [-1, -1])
    pairs = listed if listed and isinstance(listed[0], list) else [listed]
    if not all(len(pair) == 2 and all(type(x) is int for x in pair) for pair in pairs):
        raise SpeechError(f"expected encoder.att_context_size to hold pairs of integers, got {shown(listed)}")
    bounded = tuple((left, right) for left, right in pairs if left >= 0 and right >= 0)
    if not bounded:
        raise SpeechError(
            f"expected a bounded attention context, got encoder.att_context_size {shown(listed)}: "
            "this offline model listens to the whole recording and cannot be streamed"
        )
    uneven = [pair for pair in bounded if chunked and pair[0] % (pair[1] + 1)]
    if uneven:
        raise SpeechError(
            f"expected the left context to be a multiple of the look-ahead plus one, got {list(uneven[0])}"
        )
    return bounded


def _conv_context(source: Tree) -> tuple[int, int]:
    """Past and future frames of the depthwise convolution: "causal", a pair, or null for a centred kernel."""
    kernel = source.get("encoder.conv_kernel_size", int, 31)
    context = source.get("encoder.conv_context_size", (str, list), [(kernel - 1) // 2] * 2)
    left, right = (kernel - 1, 0) if context == "causal" else context if len(context) == 2 else (None, None)
    if not (type(left) is int and type(right) is int and left >= 0 and right >= 0 and left + right + 1 == kernel):
        raise SpeechError(
            f"expected encoder.conv_context_size to be causal or two integers that fit a kernel of {kernel}, "
            f"got {shown(context)}"
        )
    return left, right


def _prediction(source: Tree) -> PredictionConfig:
    source.expect("decoder.normalization_mode", (None,))
    source.expect("decoder.blank_as_pad", (True,), True)
    source.expect("joint.jointnet.activation", ("relu",), "relu")
    source.expect("joint.num_extra_outputs", (0, None), 0)  # the durations of a token-and-duration transducer
    return PredictionConfig(
        dim=source.get("decoder.prednet.pred_hidden", int),
        layers=source.get("decoder.prednet.pred_rnn_layers", int, 1),
        joint_dim=source.get("joint.jointnet.joint_hidden", int),
        dropout=source.number("decoder.prednet.dropout", 0.0),
        joint_dropout=source.number("joint.jointnet.dropout", 0.0),
    )


def _read_config(archive: Archive) -> dict[str, Any]:
    tree = read_yaml(archive.read("model_config.yaml", _TEXT_LIMIT), f"model_config.yaml in {archive.path}")
    if not isinstance(tree, dict):
        raise SpeechError(f"expected model_config.yaml in {archive.path} to be a mapping, got {type(tree).__name__}")
    return tree


def _read_tokenizer(archive: Archive, source: Tree) -> tuple[str, bytes]:
    """Name by kind (`tokenizer.model` or `vocab.txt`) and content of the tokenizer's file."""
    kind = source.get("tokenizer.type", str)
    keys = {"bpe": ("tokenizer.model_path", "tokenizer.model"), "wpe": ("tokenizer.vocab_path", "vocab.txt")}
    if kind not in keys:
        raise SpeechError(f"expected a tokenizer of type bpe or wpe in {archive.path}, got {kind}")
    key, name = keys[kind]
    return name, archive.read(source.get(key, str).removeprefix("nemo:"), _TEXT_LIMIT)


def _card(path: Path, tree: dict[str, Any]) -> str:
    version = tree.get("nemo_version", "unknown")
    return (
        f"# {path.stem}\n\nA FastConformer recogniser imported from `{path.name}` (NeMo {version}, class "
        f"`{str(tree['target']).rpartition('.')[2]}`).\nIts licence and scores are those of the original model.\n"
    )
