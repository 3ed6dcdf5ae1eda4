"""Published formats: each beside an independent reading of the same tensors, and what is refused."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from speech.asr.whisper.config import Context, WhisperConfig
from speech.asr.whisper.decoder import Decoder
from speech.asr.whisper.encoder import Encoder
from speech.asr.whisper.model import Whisper
from speech.errors import SpeechError
from speech.hub.public import is_whisper
from speech.hub.schema import from_tree, to_tree
from speech.hub.whisper.weights import load_whisper, without_lora
from speech.streaming.frames import Frames
from tests.asr.whisper.reference import causal, decode, encode, openai
from tests.asr.whisper.small import SIZES, hugging_face, published

IDS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
HEADS = {"n_audio_head": 3, "n_text_head": 2}
PARAMETERS = {
    "tiny": 37_184_640,
    "base": 71_825_920,
    "small": 240_582_912,
    "medium": 762_321_920,
    "large-v2": 1_541_384_960,
}
"""Of the public models, as their authors count them."""


@dataclass
class ModelDimensions:
    """Stands for a foreign class of sizes that was pickled."""

    n_audio_head: int
    n_text_head: int


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("executed",))


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return published()


def check(model: Whisper, tensors: dict[str, Tensor], tolerance: float = 2e-5) -> None:
    """Encoder frames and logits of `model` are those of the tensors."""
    torch.manual_seed(0)
    mel = torch.randn(2, SIZES["num_mel_bins"], 2 * SIZES["max_source_positions"])
    with torch.inference_mode():
        heard = encode(tensors, mel, 3)
        frames = model.encoder(Frames.whole(mel.mT))
        torch.testing.assert_close(frames.data, heard, atol=tolerance, rtol=tolerance)
        expected = decode(tensors, IDS, heard, 2)
        torch.testing.assert_close(model.decoder(IDS, frames), expected, atol=tolerance, rtol=tolerance)


def test_a_hugging_face_folder(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    folder = hugging_face(tmp_path / "hf", tensors)
    assert is_whisper(folder) and not is_whisper(tmp_path)
    model = load_whisper(folder)
    assert not model.training and model.config.contexts == (Context.windows(40),)
    check(model, tensors)


def test_alignment_heads(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    """Of `generation_config.json`; three layers of two heads."""
    folder = hugging_face(tmp_path / "hf", tensors)
    path = folder / "generation_config.json"
    cases = (({"alignment_heads": [[2, 0], [1, 1]]}, ((2, 0), (1, 1))), ({"alignment_heads": None}, None), ({}, None))
    for tree, expected in cases:
        path.write_text(json.dumps({"max_length": 448, **tree}))
        config = load_whisper(folder).config
        assert config.alignment_heads == expected
        assert from_tree(WhisperConfig, json.loads(json.dumps(to_tree(config))), "config") == config
    for heads, message in (
        ([[2, 2]], r"among the 2 of 3 decoder layers, got \[\[2, 2\]\]"),
        ([[-1, 0]], "among the 2 of 3"),
        ([[1]], "pairs of layer and head"),
        ("all", "pairs of layer and head, got 'all'"),
    ):
        path.write_text(json.dumps({"alignment_heads": heads}))
        with pytest.raises(SpeechError, match=message):
            load_whisper(folder)
    path.write_text("{")
    with pytest.raises(SpeechError, match=r"generation_config\.json to be JSON"):
        load_whisper(folder)


def test_its_other_forms(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    folder = hugging_face(tmp_path / "hf", tensors)
    (folder / "model.safetensors").unlink()
    tied = {"proj_out.weight": tensors["model.decoder.embed_tokens.weight"]}
    torch.save(tensors | tied, folder / "pytorch_model.bin")
    check(load_whisper(folder), tensors)
    (folder / "pytorch_model.bin").unlink()
    names = list(tensors)
    for i, part in enumerate((names[:20], names[20:]), 1):
        torch.save({name: tensors[name] for name in part}, folder / f"pytorch_model-{i:05}-of-00002.bin")
    check(load_whisper(folder), tensors)
    (folder / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(SpeechError, match="found 1 shards"):
        load_whisper(folder)


@pytest.mark.parametrize("zipped", [True, False])
def test_openai(tmp_path: Path, tensors: dict[str, Tensor], zipped: bool) -> None:
    path = tmp_path / "tiny.pt"
    tree = {"dims": {**HEADS, "n_vocab": 23}, "model_state_dict": openai(tensors)}
    torch.save(tree, path, _use_new_zipfile_serialization=zipped)
    check(load_whisper(path), tensors)
    torch.save({"dims": {**HEADS, "n_vocab": 24}, "model_state_dict": openai(tensors)}, path)
    with pytest.raises(SpeechError, match="n_vocab is 24 and they have 23"):
        load_whisper(path)


@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_causal_whisper(tmp_path: Path, tensors: dict[str, Tensor], prefix: str) -> None:
    path, w = tmp_path / "base_40.pt", causal(openai(tensors), 2)
    cfg = {"gran": 4, "rank": 2, "extra_gran_blocks": 1}
    state = {prefix + name: tensor for name, tensor in w.items()}
    torch.save({"dims": ModelDimensions(**HEADS), "state_dict": state, "cfg": cfg}, path)
    model = load_whisper(path)
    assert model.config.contexts == (Context(4, left=36, initial=8, restart=20),) and model.config.compatible
    assert not load_whisper(path, (Context.causal(2, 8, 40),)).config.compatible
    plain = without_lora(w, "")
    merged = {name: plain[key].float() for name, key in zip(tensors, openai(tensors), strict=True)}
    model.encoder = model.encoder.at(Context.windows(40))
    check(model, merged, tolerance=1e-4)
    name = "decoder.blocks.2.cross_attn.key"
    update = w[f"{name}.lora_layer.lora_A"] @ w[f"{name}.lora_layer.lora_B"]
    torch.testing.assert_close(plain[f"{name}.weight"].float(), w[f"{name}.base_layer.weight"] + update.T)


def test_chosen_contexts(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    contexts = (Context.causal(4, 8, 40), Context.causal(2, 8, 40))
    config = load_whisper(hugging_face(tmp_path / "hf", tensors), contexts).config
    assert config.contexts == contexts and config.mel.peak == "running"
    assert config.context() == config.context(80) == contexts[0] and config.context(40) == contexts[1]
    with pytest.raises(SpeechError, match=r"trained for \(40, 80 ms\), got 60 ms"):
        config.context(60)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder.blocks.1.attn.query.bias": None}, "encoder.blocks.1.attn.query.bias is missing"),
        ({"decoder.ln.weight": None, "extra": 1}, "decoder.ln.weight is missing, extra is not known"),
        ({"blo\nks": 1}, r"blo\\nks is not known"),
        ({"encoder.blocks.0.attn.key.bias": 12}, "encoder.blocks.0.attn.key.bias is not known"),
        ({"encoder.blocks.0.attn.key.weight": 12}, "queries, keys and values of one shape"),
        ({"decoder.ln.weight": 7}, "decoder.norm.weight has shape"),
        ({"encoder.conv1.weight": None}, "encoder.conv1.weight"),
    ],
)
def test_partial_matches_are_refused(
    tmp_path: Path, tensors: dict[str, Tensor], change: dict[str, int | None], message: str
) -> None:
    path, w = tmp_path / "tiny.pt", openai(tensors)
    for name, size in change.items():
        w.pop(name, None)
        if size is not None:
            w[name] = torch.zeros(size)
    torch.save({"dims": HEADS, "model_state_dict": w}, path)
    with pytest.raises(SpeechError, match=message):
        load_whisper(path)


def test_half_an_update_is_refused(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path, w = tmp_path / "base_40.pt", causal(openai(tensors), 2)
    del w["decoder.blocks.0.attn.out.lora_layer.lora_B"]
    torch.save({"dims": HEADS, "state_dict": w, "cfg": {"gran": 4, "extra_gran_blocks": 1}}, path)
    with pytest.raises(SpeechError, match=r"a weight of decoder.blocks.0.attn.out .* B \[rank, m\]"):
        load_whisper(path)
    torch.save({"dims": HEADS, "state_dict": openai(tensors), "cfg": {"rank": 2}}, path)
    with pytest.raises(SpeechError, match="gran and extra_gran_blocks"):
        load_whisper(path)


def test_a_layer_without_its_update_is_refused(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path, w = tmp_path / "base_40.pt", causal(openai(tensors), 2)
    for end in ("A", "B"):
        del w[f"encoder.blocks.1.attn.key.lora_layer.lora_{end}"]
    torch.save({"dims": HEADS, "state_dict": w, "cfg": {"gran": 4, "extra_gran_blocks": 1}}, path)
    with pytest.raises(SpeechError, match=r"encoder\.blocks\.1\.attn\.key .* got the shapes \[12, 12\], none, none"):
        load_whisper(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (None, "`cfg`, beside the low-rank updates in .*, found none"),
        ([4, 1], "settings by name, it is of type list"),
        ({"gran": 4.0, "extra_gran_blocks": 1}, "gran and extra_gran_blocks"),
        ({"gran": 40, "extra_gran_blocks": 0}, "chunks of less than its 40 frames"),
        ({"gran": 8, "extra_gran_blocks": 5}, "chunks of less than its 40 frames"),
    ],
)
def test_chunks_that_a_file_does_not_tell_are_not_made_up(
    tmp_path: Path, tensors: dict[str, Tensor], settings: object, message: str
) -> None:
    path, tree = tmp_path / "base_40.pt", {"dims": HEADS, "state_dict": causal(openai(tensors), 2)}
    torch.save(tree if settings is None else tree | {"cfg": settings}, path)
    with pytest.raises(SpeechError, match=message):
        load_whisper(path)


def test_weights_are_plain_numbers_by_name(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path, name = tmp_path / "tiny.pt", "decoder.ln.weight"
    for odd in (torch.ones(12, dtype=torch.int8), torch.ones(12, dtype=torch.cfloat), torch.ones(12).to_sparse()):
        torch.save({"dims": HEADS, "model_state_dict": openai(tensors) | {name: odd}}, path)
        with pytest.raises(SpeechError, match=rf"floating-point weights in .*, but {name} is {odd.dtype}"):
            load_whisper(path)
    torch.save({"dims": HEADS, "model_state_dict": [*tensors.values()]}, path)
    with pytest.raises(SpeechError, match="to hold `dims` and `model_state_dict`"):
        load_whisper(path)
    folder = hugging_face(tmp_path / "hf", tensors)
    (folder / "model.safetensors").unlink()
    for tree in ([*tensors.values()], {"step": 3}):
        torch.save(tree, folder / "pytorch_model.bin")
        with pytest.raises(SpeechError, match=r"pytorch_model\.bin to hold tensors by name"):
            load_whisper(folder)


def test_nothing_is_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"dims": Evil(), "model_state_dict": {}}, path)
    with pytest.raises(SpeechError, match="refused, nothing was executed"):
        load_whisper(path)
    path.write_bytes(pickle.dumps(Evil(), 2))
    with pytest.raises(SpeechError, match=r"asks to run|damaged or cut short"):
        load_whisper(path)
    assert "executed" not in capsys.readouterr().out


def test_a_file_whose_directory_is_garbled(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = tmp_path / "tiny.pt"
    torch.save({"dims": HEADS, "model_state_dict": openai(tensors)}, path)
    data = bytearray(path.read_bytes())
    disks = data.rindex(b"PK\x06\x07") + 16  # of the zip64 locator
    data[disks] = 9
    path.write_bytes(data)
    with pytest.raises(SpeechError, match="damaged or cut short"):
        load_whisper(path)


def test_other_files(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = tmp_path / "model.pt"
    with pytest.raises(SpeechError, match="does not exist"):
        load_whisper(path)
    path.write_bytes(b"no weights")
    with pytest.raises(SpeechError, match=r"damaged or cut short|more than tensors"):
        load_whisper(path)
    torch.save({"weights": {}}, path)
    with pytest.raises(SpeechError, match="it holds weights"):
        load_whisper(path)
    with pytest.raises(SpeechError, match="type 'wav2vec2'"):
        load_whisper(hugging_face(tmp_path / "hf", tensors, model_type="wav2vec2"))
    with pytest.raises(SpeechError, match="cannot be read"):
        load_whisper(tmp_path)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_public_sizes(name: str) -> None:
    config = WhisperConfig.public(name)
    with torch.device("meta"):
        parts = Encoder(config), Decoder(config)
    found = sum(p.numel() for part in parts for p in part.parameters())
    unused = config.dim * (config.encoder_layers + config.decoder_layers)  # key biases, which are zero
    assert found - unused == PARAMETERS[name]


def test_names_of_public_models() -> None:
    assert WhisperConfig.public("small.en").vocabulary == 51864
    turbo = WhisperConfig.public("turbo")
    assert (turbo.mel.features, turbo.vocabulary, turbo.decoder_layers) == (128, 51866, 4)
    for name in ("turbo.en", "huge", "large-v2.en"):
        with pytest.raises(SpeechError, match="name of a public Whisper"):
            WhisperConfig.public(name)
