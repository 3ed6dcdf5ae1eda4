"""ONNX parts of public checkpoints, run as they are through onnxruntime on the CPU."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speech.audio.mel import KALDI_FBANK, S3_TOKENIZER, LogMel
from speech.content import campplus, s3
from speech.content.reference import RATE, VOICE_SECONDS, recording
from speech.errors import SpeechError
from speech.streaming.frames import Frames


class ONNXSpeechTokenizer:
    """`speech_tokenizer_v2.onnx` of CosyVoice 2 behind the interface of `content.s3.S3Tokenizer`.

    The file, which is large, is opened when it is first needed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.mel = Path(path), LogMel(S3_TOKENIZER)

    @cached_property
    def session(self) -> Any:
        """The open file.

        Raises:
            SpeechError: onnxruntime is not installed, or the file is missing, broken or another model.
        """
        features = self.mel.config.features
        return _session(self.path, "a speech tokenizer of CosyVoice 2", ([None, features, None], [None]))

    @torch.inference_mode()
    def encode(self, samples: Tensor | np.ndarray, sample_rate: float = RATE) -> Tensor:
        """The codes of one recording of any length. samples: mono [n] in [-1, 1] -> [t], int64, 25 a second.

        Raises:
            SpeechError: the samples are not mono, not finite or less than one code (40 ms), or the model cannot be
                opened or fails on them.
        """
        x = recording(samples, sample_rate, shortest=s3.SHORTEST)
        return s3.in_windows(self.mel(Frames.whole(x[None])).data[0], self._codes)

    def _codes(self, mel: Tensor) -> Tensor:
        """[t, features] -> [t']."""
        length = np.array([len(mel)], dtype=np.int32)
        return _run(self.session, self.path, mel.T[None].numpy(), length).flatten().long()


class ONNXSpeakerEncoder:
    """`campplus.onnx` of CosyVoice 2 behind the interface of `content.campplus.CAMPPlus`, opened when first needed."""

    def __init__(self, path: str | Path) -> None:
        self.path, self.fbank = Path(path), LogMel(KALDI_FBANK)

    @cached_property
    def session(self) -> Any:
        """The open file.

        Raises:
            SpeechError: onnxruntime is not installed, or the file is missing, broken or another model.
        """
        return _session(self.path, "a CAM++ speaker encoder", ([None, None, self.fbank.config.features],))

    @torch.inference_mode()
    def embed(self, samples: Tensor | np.ndarray, sample_rate: float = RATE) -> Tensor:
        """The vector of one speaker, [d]. samples: mono [n] in [-1, 1].

        Raises:
            SpeechError: the recording is not mono, not finite, shorter than 0.5 s or silent, or the model cannot
                be opened or fails.
        """
        x = recording(samples, sample_rate, shortest=VOICE_SECONDS, audible=True)
        fbank = campplus.centred(self.fbank(Frames.whole(x[None]))).data
        return _run(self.session, self.path, fbank.numpy()).flatten()


def _session(path: Path, what: str, inputs: tuple[list[int | None], ...]) -> Any:
    """An onnxruntime session for the model file `path`; `inputs`: the shapes that it must take, None for any size."""
    try:
        import onnxruntime
    except ImportError as error:
        raise SpeechError(
            f"expected onnxruntime, which {path.name} runs through, it is not installed: pip install onnxruntime"
        ) from error
    if not path.is_file():
        raise SpeechError(f"expected the file {path}, it is missing: this is no complete checkpoint folder")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; they are raised as well
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions have no common class but this one
        raise SpeechError(
            f"expected {path} to be a whole ONNX model, it cannot be read: {' '.join(str(error).split())}"
        ) from error
    shapes = [node.shape for node in session.get_inputs()]
    if not _fit(shapes, inputs):
        raise SpeechError(f"expected {path} to be {what}, but it takes inputs of the shapes {shapes}: check the file")
    return session


def _fit(shapes: list[list[int | str | None]], wanted: tuple[list[int | None], ...]) -> bool:
    """Whether inputs have the wanted shapes; a size that a model leaves open is a name or None."""
    if [len(shape) for shape in shapes] != [len(shape) for shape in wanted]:
        return False
    pairs = [pair for shape, other in zip(shapes, wanted, strict=True) for pair in zip(shape, other, strict=True)]
    return all(size == other for size, other in pairs if isinstance(size, int) and other is not None)


def _run(session: Any, path: Path, *inputs: np.ndarray) -> Tensor:
    """The first output of a model for inputs in its order."""
    names = [node.name for node in session.get_inputs()]
    try:
        return torch.from_numpy(session.run(None, dict(zip(names, inputs, strict=True)))[0])
    except Exception as error:  # onnxruntime's own exceptions have no common class but this one
        raise SpeechError(f"expected {path} to run on its input, it fails: {' '.join(str(error).split())}") from error
