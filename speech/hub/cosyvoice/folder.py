"""Import of CosyVoice 2 and 3: the folder of a public model, pickles, ONNX files and all, to a checkpoint folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

import torch
import yaml
from torch import Tensor

from speech.audio.mel import COSYVOICE2_MEL
from speech.content.onnx import ONNXSpeakerEncoder, ONNXSpeechTokenizer
from speech.errors import SpeechError
from speech.flow.layers import Context
from speech.flow.model import FlowConfig
from speech.flow.unet import UNetConfig
from speech.hub.archive import read_groups, read_tensors
from speech.hub.checkpoint import CARD, SPEAKER_ENCODER, SPEECH_TOKENIZER, TEXT_TOKENIZER, VOICES, build, save
from speech.hub.cosyvoice.content import from_campplus, from_s3_tokenizer_v2
from speech.hub.cosyvoice.flow import from_cosyvoice_flow
from speech.hub.cosyvoice.hift import from_public as from_cosyvoice_hift
from speech.hub.cosyvoice.lm import from_cosyvoice_lm
from speech.tts.lm import TextSpeechConfig
from speech.tts.model import SynthesiserConfig, SynthesiserModel
from speech.tts.tokens import TextTokenizer
from speech.tts.voice import Voice, fitting, pack_voices
from speech.vocoder.hift import HiFTConfig

Tensors = dict[str, Tensor]
Version = Literal[2, 3]
C = TypeVar("C")

SETTINGS = ("cosyvoice2.yaml", "cosyvoice3.yaml")
QWEN2 = "CosyVoice-BlankEN"
PRESETS = "spk2info.pt"
INSTRUCTION = "You are a helpful assistant.<|endofprompt|>"
"""What version 3 was trained to read before all text."""


@dataclass(frozen=True)
class Part:
    """A part of the model. choices: the files that it may lie in, of which the first ones that are there are read.

    purpose: what it is there for.
    """

    choices: tuple[tuple[str, ...], ...]
    purpose: str


LM = Part((("llm.pt",),), "the language model, which makes speech codes of text")
FLOW = Part((("flow.pt",),), "the flow, which makes mel frames of speech codes")
VOCODER = Part((("hift.pt",),), "the vocoder, which makes sound of mel frames")
TEXT = Part(((f"{QWEN2}/tokenizer.json",), (f"{QWEN2}/vocab.json", f"{QWEN2}/merges.txt")), "the tokenizer of text")
CODES = Part(
    (("speech_tokenizer_v3.onnx",), ("speech_tokenizer_v2.pt",), ("speech_tokenizer_v2.onnx",)),
    "the speech tokenizer, which takes voices up from recordings",
)
SPEAKER = Part((("campplus.bin",), ("campplus.onnx",)), "the speaker encoder, which takes voices up from recordings")
PARTS = (LM, FLOW, VOCODER, TEXT, CODES, SPEAKER)
BESIDE = (*SETTINGS, f"{QWEN2}/config.json", PRESETS, CARD)


def needed(present: Container[str], source: str) -> list[str]:
    """Of the names `present` in a folder or repository, those of the files that are read.

    Raises:
        SpeechError: a part is missing.
    """
    names: list[str] = []
    for part in PARTS:
        found = next((files for files in part.choices if all(name in present for name in files)), None)
        if found is None:
            files = " or ".join(" with ".join(files) for files in part.choices)
            raise SpeechError(
                f"expected {files} in {source}, {part.purpose}, but it is missing: take the whole folder of the model"
            )
        names += found
    return names + [name for name in BESIDE if name in present]


def convert(folder: Path, target: Path, card: str | None = None) -> Path:
    """Convert the folder of a CosyVoice 2 or 3 model into the checkpoint folder `target`; returns `target`.

    Weights keep the precision that they have in the files. The sizes are read off the tensors; from the YAML file, of
    which nothing is executed, come the chunk and the width of an attention head alone. ONNX files are copied.

    card: the text of the model card; by default the folder's own, or a few lines that name it.

    Raises:
        SpeechError: a part is missing or damaged, asks to be executed, or does not fit the others.
    """
    names = {name for part in PARTS for files in part.choices for name in files} | {*BESIDE}
    files = needed({name for name in names if (folder / name).is_file()}, str(folder))
    head, chunk = _settings(folder)
    # One part after another: what its file held is freed before the next is read.
    lm, lm_weights = from_cosyvoice_lm(_tensors(folder / "llm.pt"), _text_head(folder))
    flow, flow_weights = from_cosyvoice_flow(_tensors(folder / "flow.pt"), head)
    vocoder, vocoder_weights = from_cosyvoice_hift(_tensors(folder / "hift.pt"))
    codes, speaker = (next(name for name in files if (name,) in part.choices) for part in (CODES, SPEAKER))
    version = _version(folder, lm, flow, vocoder, codes)
    tokenizer, tokenizer_weights = _ear(folder / codes, from_s3_tokenizer_v2, ONNXSpeechTokenizer)
    encoder, encoder_weights = _ear(folder / speaker, from_campplus, ONNXSpeakerEncoder)
    config = SynthesiserConfig(
        lm,
        replace(flow, context=Context(chunk, 4 * chunk)),
        vocoder,
        instruction=INSTRUCTION if version == 3 else "",
        mel=replace(COSYVOICE2_MEL, features=flow.mel, high=COSYVOICE2_MEL.high if version == 2 else None),
        tokenizer=tokenizer,
        speaker=encoder,
    )
    weights = _under("lm", lm_weights) | _under("flow", flow_weights) | _under("vocoder", vocoder_weights)
    weights |= _under("tokenizer", tokenizer_weights) | _under("speaker", encoder_weights)
    beside: dict[str, Path | bytes] = {TEXT_TOKENIZER: _text_tokenizer(folder, version, config)}
    beside |= {} if tokenizer else {SPEECH_TOKENIZER: folder / codes}
    beside |= {} if encoder else {SPEAKER_ENCODER: folder / speaker}
    if PRESETS in files:
        beside[VOICES] = pack_voices(_voices(folder / PRESETS, config))
    model = build(SynthesiserModel, config, weights, str(folder))
    return save(target, model, card or _card(folder, version), beside, dtype=None)


def _tensors(path: Path) -> Tensors:
    with _open(path) as file:
        return read_tensors(file, str(path))


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise SpeechError(f"expected to read {path}, it failed: {error.strerror}") from error


def _under(part: str, tensors: Mapping[str, Tensor]) -> Tensors:
    return {f"{part}.{name}": tensor for name, tensor in tensors.items()}


def _version(folder: Path, lm: TextSpeechConfig, flow: FlowConfig, vocoder: HiFTConfig, codes: str) -> Version:
    """The version that all parts are of. codes: the name of the speech tokenizer's file."""
    found: dict[str, Version] = {
        "llm.pt": 2 if lm.vocabulary.eos == lm.vocabulary.codes else 3,
        "flow.pt": 2 if isinstance(flow.estimator, UNetConfig) else 3,
        "hift.pt": 3 if vocoder.causal else 2,
        codes: 3 if "_v3" in codes else 2,
    }
    if len(set(found.values())) > 1:
        got = ", ".join(f"{name} of version {version}" for name, version in found.items())
        raise SpeechError(
            f"expected parts of one version of CosyVoice in {folder}, got {got}: take the whole folder of one model"
        )
    return found["llm.pt"]


def _text_tokenizer(folder: Path, version: Version, config: SynthesiserConfig) -> bytes:
    tokenizer, rows = TextTokenizer.load(folder / QWEN2, version), config.lm.vocabulary.text
    if len(tokenizer) > rows:
        raise SpeechError(
            f"expected a tokenizer of at most {rows} ids in {folder / QWEN2}, which the language model knows, it has "
            f"{len(tokenizer)}: take both from one model"
        )
    return tokenizer.dumps()


def _ear(
    path: Path,
    convert: Callable[[Tensors], tuple[C, Tensors]],
    runtime: type[ONNXSpeechTokenizer] | type[ONNXSpeakerEncoder],
) -> tuple[C | None, Tensors]:
    """Configuration and weights of a part that our own module runs; none of an ONNX file, once it proved whole."""
    if path.suffix != ".onnx":
        return convert(_tensors(path))
    if find_spec("onnxruntime"):
        _ = runtime(path).session
    return None, {}


def _voices(path: Path, config: SynthesiserConfig) -> dict[str, Voice]:
    """The preset voices of a `spk2info.pt`, with a prompt where there is one."""
    with _open(path) as file:
        groups = read_groups(file, str(path))
    return {name: fitting(config, name, _voice(name, group, config, path)) for name, group in groups.items()}


def _voice(name: str, group: Tensors, config: SynthesiserConfig, path: Path) -> Voice:
    def part(dims: int, *keys: str) -> Tensor | None:
        """The first of these that is there, without the axis of its batch of one."""
        found = (group[key] for key in keys if key in group)
        return next((x[0].clone() for x in found if x.dim() == dims + 1 and len(x) == 1), None)

    speaker = part(1, "flow_embedding", "embedding", "llm_embedding")
    codes, mel = part(1, "flow_prompt_speech_token", "speech_token"), part(2, "prompt_speech_feat", "speech_feat")
    text = part(1, "prompt_text")
    if speaker is None:
        raise SpeechError(
            f"expected a speaker vector of every voice in {path}, {name!r} has none: move the file away to go without "
            "these voices"
        )
    if codes is None or mel is None:
        return Voice.plain(speaker.float(), config.flow.mel)
    ids = torch.zeros(0, dtype=torch.long) if text is None else text.long()
    return Voice.prompted(speaker.float(), codes.long(), mel.float(), ids, config.flow.rate)


def _settings(folder: Path) -> tuple[int, int]:
    """Channels of an attention head of the velocity network, and tokens of a chunk, as the YAML file says."""
    path = next((folder / name for name in SETTINGS if (folder / name).is_file()), None)
    tree = {}
    if path is not None:
        try:
            tree = yaml.load(path.read_text(encoding="utf-8"), _Untagged)
        except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
            why = " ".join(str(error).split())[:200]
            raise SpeechError(f"expected {path} to be a whole YAML file, it is not ({why}): fetch it again") from error
    estimator = ("flow", "decoder", "estimator")
    head = _number(tree, *estimator, "attention_head_dim") or _number(tree, *estimator, "dim_head") or 64
    return head, _number(tree, "chunk_size") or 25


def _text_head(folder: Path) -> int:
    """Channels of an attention head of the language model, as the configuration of its decoder says."""
    path = folder / QWEN2 / "config.json"
    try:
        tree = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise SpeechError(f"expected {path} to be whole JSON, it is not: fetch it again") from error
    width, heads = _number(tree, "hidden_size"), _number(tree, "num_attention_heads")
    return width // heads if width and heads and width >= heads else 64


def _number(tree: Any, *keys: str) -> int | None:
    """The positive integer at a path of keys, where there is one."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree if type(tree) is int and tree > 0 else None


def _plain(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> Any:
    """What stands behind a tag; what the tag asks for is not done."""
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)  # type: ignore[arg-type]


class _Untagged(yaml.SafeLoader):
    """YAML whose tags (`!new:`, `!ref`, `!!python/...`) are passed over."""

    yaml_multi_constructors = {"": _plain}  # noqa: RUF012 (as the library has it)


def _card(folder: Path, version: Version) -> str:
    if (folder / CARD).is_file():
        return (folder / CARD).read_text(encoding="utf-8", errors="replace")
    return (
        f"# {folder.resolve().name}\n\nA synthesiser imported from a folder of CosyVoice {version}.\n"
        "Its licence and scores are those of the original model.\n"
    )
