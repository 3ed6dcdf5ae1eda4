"""The benchmark of a step: the weights it takes over, the check that stops it, the process that measures."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from benchmarks.asr_step.compare import TINY, Program, check
from benchmarks.asr_step.heads import speak
from benchmarks.asr_step.signal import BEFORE, CHUNKS, log_mel
from benchmarks.asr_step.speech_worker import Worker as Speech
from benchmarks.worker import Worker
from speech.asr.encoder import EncoderConfig
from speech.asr.greedy import RNNTGreedy
from speech.asr.heads import Joint, Prediction
from speech.errors import SpeechError
from speech.streaming.frames import Frames
from tests.hub.foreign import configured, weights

PLACE = {"batch": 2, "ahead": 1, "threads": 1}


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """The state dict of a NeMo encoder of the tiny configuration, as NeMo's worker writes it."""
    config = asdict(EncoderConfig(**TINY))
    tree = configured(
        encoder__n_layers=config["layers"],
        encoder__d_model=config["dim"],
        encoder__n_heads=config["heads"],
        encoder__ff_expansion_factor=config["ff_expansion"],
        encoder__subsampling_conv_channels=config["subsampling_channels"],
        encoder__conv_kernel_size=1 + sum(config["conv_context"]),
    )
    path = tmp_path / "weights.pt"
    torch.save({name: x for name, x in weights(tree).items() if name.startswith("encoder.")}, path)
    return path


def test_nemo_weights_are_taken_over(foreign: Path) -> None:
    speech = Speech()
    speech.load(TINY, str(foreign))
    theirs = torch.load(foreign, weights_only=True)
    layer = speech.model.encoder.get_submodule("layers.1")
    qkv = torch.cat([theirs[f"encoder.layers.1.self_attn.linear_{x}.weight"] for x in "qkv"])
    packed = layer.get_parameter("attention.branch.attention.qkv.weight")
    assert torch.equal(packed.to_dense(), qkv)
    assert torch.equal(layer.get_parameter("norm.bias"), theirs["encoder.layers.1.norm_out.bias"])


def test_steps_equal_the_whole_signal() -> None:
    speech = Speech()
    speech.load(TINY, None)
    speech.prepare(**PLACE)
    frames = 16
    with torch.inference_mode():
        mel = log_mel(2, frames, 80)[:, BEFORE : BEFORE + 8 * frames - BEFORE]
        whole = speech.model.encoder.at((70, 1))(Frames.whole(mel)).data[:, :16]
        steps = torch.cat([speech.runner.step().data for _ in range(8)], 1)
    torch.testing.assert_close(steps, whole, rtol=0, atol=1e-5)
    assert log_mel(2, frames, 80, 9).shape[1] == 9 + BEFORE + CHUNKS * frames


def test_random_heads_speak_as_much_as_people_do() -> None:
    torch.manual_seed(0)
    prediction, joint = Prediction(20, 16).eval(), Joint(8, 16, 12, 20).eval()
    time = torch.arange(400)[:, None]
    frames = 3 + torch.sin(time * torch.linspace(0.4, 1.2, 8)) * torch.linspace(1, 2, 8)
    speak(prediction, joint, frames[:200])
    with torch.inference_mode():
        tokens = RNNTGreedy(prediction, joint).decode(Frames.whole(frames[None, 200:]))[0]
    assert 0.2 < len(tokens) / 200 < 0.4
    assert {token.id for token in tokens} == {0, 1}
    assert len({token.frame for token in tokens}) > 0.8 * len(tokens)


def test_other_outputs_stop_the_comparison(tmp_path: Path) -> None:
    class Wrong:
        """A program whose outputs are all zeros."""

        def call(self, do: str, *, path: str, **_: object) -> None:
            assert do == "outputs"
            torch.save(torch.zeros(2, 4, TINY["dim"]), path)

    with Worker(sys.executable, "benchmarks.asr_step.speech_worker") as speech:
        speech.call("load", changes=TINY, weights=None)
        with pytest.raises(SpeechError, match="outputs of Wrong within"):
            check(speech, Program(Wrong(), "torch", "Wrong"), PLACE, tmp_path / "outputs.pt")  # type: ignore[arg-type]


def test_a_worker_tells_what_went_wrong() -> None:
    with Worker(sys.executable, "benchmarks.asr_step.speech_worker") as worker:
        with pytest.raises(RuntimeError, match="failed at 'time': AttributeError"):
            worker.call("time", what="encoder", steps=1)
        with pytest.raises(RuntimeError, match="failed at 'load': TypeError"):
            worker.call("load")
    with Worker(sys.executable, "benchmarks.no_such_module") as worker, pytest.raises(RuntimeError, match="No module"):
        worker.call("load")
