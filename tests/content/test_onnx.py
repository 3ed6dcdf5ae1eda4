"""ONNX parts: models exported from our own modules give what those give, and broken files are told of."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from speech.content.onnx import ONNXSpeakerEncoder, ONNXSpeechTokenizer
from speech.errors import SpeechError
from speech.streaming.frames import Frames
from tests.content.small import noise, speaker_encoder, tokenizer

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")  # what torch.onnx.export writes with
pytestmark = pytest.mark.filterwarnings("ignore")  # of the exporter, whose newer form takes 20 s a model


class Codes(nn.Module):
    """The tokenizer with the inputs of the public file."""

    def __init__(self) -> None:
        super().__init__()
        self.model = tokenizer()

    def forward(self, feats: Tensor, feats_length: Tensor) -> Tensor:
        return self.model.codes(Frames.whole(feats.transpose(1, 2), feats_length.long())).data.int()


class Vector(nn.Module):
    """The speaker encoder with the input of the public file."""

    def __init__(self) -> None:
        super().__init__()
        self.model = speaker_encoder()

    def forward(self, fbank: Tensor) -> Tensor:
        return self.model.vectors(Frames.whole(fbank))


def export(model: nn.Module, path: Path, axis: int | None, **inputs: Tensor) -> Path:
    """axis: of the first input, may have any length."""
    names = list(inputs)
    axes = {} if axis is None else {names[0]: {axis: "time"}}
    args = tuple(inputs.values())
    torch.onnx.export(model.eval(), args, str(path), input_names=names, dynamic_axes=axes, dynamo=False)
    return path


@pytest.fixture(scope="module")
def codes_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    feats, length = torch.randn(1, 128, 120), torch.tensor([120], dtype=torch.int32)
    return export(Codes(), tmp_path_factory.mktemp("onnx") / "codes.onnx", 2, feats=feats, feats_length=length)


@pytest.fixture(scope="module")
def vector_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(Vector(), tmp_path_factory.mktemp("onnx") / "vector.onnx", 1, fbank=torch.randn(1, 230, 80))


def test_speech_tokens(codes_file: Path) -> None:
    ours, theirs = tokenizer(), ONNXSpeechTokenizer(codes_file)
    for seconds in (0.04, 1.7, 31.0):
        x = noise(seconds)
        codes = theirs.encode(x)
        assert codes.dtype == torch.long and torch.equal(codes, ours.encode(x))
    with pytest.raises(SpeechError, match=r"at least 0\.04 s"):
        theirs.encode(noise(0.01))


def test_speaker_vector(vector_file: Path) -> None:
    ours, theirs = speaker_encoder(), ONNXSpeakerEncoder(vector_file)
    for seconds in (0.5, 3.0):
        x = noise(seconds).numpy()
        torch.testing.assert_close(theirs.embed(x, 16000), ours.embed(x), atol=1e-3, rtol=1e-4)
    with pytest.raises(SpeechError, match=r"at least 0\.5 s"):
        theirs.embed(noise(0.1))
    with pytest.raises(SpeechError, match="silence"):
        theirs.embed(torch.zeros(16000))


def test_another_model(codes_file: Path, vector_file: Path) -> None:
    with pytest.raises(SpeechError, match=r"to be a speech tokenizer .*takes inputs of the shapes"):
        _ = ONNXSpeechTokenizer(vector_file).session
    with pytest.raises(SpeechError, match=r"to be a CAM\+\+ speaker encoder"):
        _ = ONNXSpeakerEncoder(codes_file).session


def test_a_broken_or_missing_file(codes_file: Path, tmp_path: Path) -> None:
    for name, data in {"cut.onnx": codes_file.read_bytes()[:999], "text.onnx": b"hello", "empty.onnx": b""}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SpeechError, match=rf"expected \S*{name} to be a") as caught:
            _ = ONNXSpeechTokenizer(tmp_path / name).session
        assert "\n" not in str(caught.value)
    with pytest.raises(SpeechError, match="it is missing"):
        _ = ONNXSpeakerEncoder(tmp_path / "none.onnx").session


def test_a_model_that_fails_on_its_input(tmp_path: Path) -> None:
    fixed = export(Vector(), tmp_path / "fixed.onnx", None, fbank=torch.randn(1, 230, 80))
    with pytest.raises(SpeechError, match="to run on its input, it fails"):
        ONNXSpeakerEncoder(fixed).embed(noise(1))


def test_without_onnxruntime(codes_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SpeechError, match="pip install onnxruntime"):
        _ = ONNXSpeechTokenizer(codes_file).session
