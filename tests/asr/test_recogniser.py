from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speech.asr import recogniser as module
from speech.asr.endpoint import EndpointConfig
from speech.asr.events import Final
from speech.asr.model import FastConformer, FastConformerConfig
from speech.asr.recogniser import Recogniser
from speech.asr.recording import Interrupted
from speech.asr.tokenizer import SentencePiece, WordPiece
from speech.errors import SpeechError
from speech.streaming.frames import Frames
from tests.asr.small import noise, small_model

RATE = 16000
QUICK = EndpointConfig(silence=0.32, longest=1.6)


@pytest.fixture(scope="module")
def recogniser(model: FastConformer, tokenizer: SentencePiece) -> Recogniser:
    return Recogniser(model, tokenizer, endpoint=QUICK)


def live(recogniser: Recogniser, pcm: np.ndarray, **options: object) -> list[Final]:
    stream = recogniser.stream(RATE, **options)  # type: ignore[arg-type]
    return [e for e in [*stream.push(pcm), *stream.flush()] if isinstance(e, Final)]


@pytest.mark.parametrize("decoder", ["rnnt", "ctc"])
@pytest.mark.parametrize("look_ahead", [160, 0])
def test_a_transcript_in_long_steps_is_what_a_live_stream_says(
    recogniser: Recogniser, decoder: str, look_ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pcm = noise(6.0, 3)
    finals = live(recogniser, pcm, look_ahead=look_ahead, decoder=decoder)
    assert len(finals) > 1
    for step in (20.0, 2.0):
        monkeypatch.setattr(module, "BLOCK", step)
        transcript = recogniser.transcribe(pcm, RATE, look_ahead=look_ahead, decoder=decoder)
        assert [(s.text, s.start, s.end) for s in transcript.segments] == [(f.text, f.start, f.end) for f in finals]
        assert [s.confidence for s in transcript.segments] == pytest.approx([f.confidence for f in finals], abs=1e-3)
        assert transcript.duration == 6.0


def test_what_was_recognised_before_a_recording_broke_off_is_not_lost(recogniser: Recogniser, tmp_path: Path) -> None:
    pcm = (noise(4.0, 2) * 32767).astype(np.int16)
    path = tmp_path / "x.wav"
    soundfile.write(path, pcm, RATE)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 2 * RATE])
    with pytest.raises(Interrupted, match="cut short") as caught:
        recogniser.transcribe(path)
    assert caught.value.transcript == recogniser.transcribe(pcm[: 2 * RATE], RATE)


def test_a_file_an_array_and_another_rate_give_a_transcript(recogniser: Recogniser, tmp_path: Path) -> None:
    pcm = (noise(2.2, 2) * 32767).astype(np.int16)
    path = tmp_path / "x.wav"
    soundfile.write(path, pcm, RATE)
    seen: list[float] = []
    transcript = recogniser.transcribe(path, progress=seen.append)
    assert transcript.text and transcript.text == recogniser.transcribe(pcm, RATE).text
    assert transcript.text == recogniser.transcribe(str(path)).text
    assert seen == sorted(seen) and seen[-1] == 2.2
    soundfile.write(path, noise(2.0, 1, 48000), 48000)
    assert recogniser.transcribe(path).duration == 2.0


def test_memory_of_a_transcript_is_that_of_one_step(recogniser: Recogniser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the length, no step sees more than a block, and nothing waits but less than a block."""
    monkeypatch.setattr(module, "BLOCK", 1.0)
    steps: list[int] = []
    setup = recogniser._setup(None, None, 1.0)
    setup.pipeline.register_forward_pre_hook(lambda *_: pytest.fail("the whole signal was encoded at once"))
    step = setup.pipeline.step
    monkeypatch.setattr(setup.pipeline, "step", lambda f, *rest: (steps.append(f.data.shape[1]), step(f, *rest))[1])
    try:
        recogniser.transcribe(noise(9.5, 1), RATE)
    finally:
        setup.pipeline._forward_pre_hooks.clear()
    assert set(steps) == {setup.chunk} and setup.chunk <= 1.1 * RATE


def test_what_there_is_can_be_asked(recogniser: Recogniser, tokenizer: SentencePiece) -> None:
    assert recogniser.look_aheads == [160, 80, 0]
    assert (recogniser.look_ahead, recogniser.decoder, recogniser.sample_rate) == (160, "rnnt", RATE)
    assert recogniser.decoders == ["rnnt", "ctc"]
    config = recogniser.model.config
    only_ctc = FastConformer(FastConformerConfig(encoder=config.encoder, vocabulary=config.vocabulary, prediction=None))
    assert Recogniser(only_ctc, tokenizer).decoder == "ctc"
    with pytest.raises(SpeechError, match="expected a decoder of ctc, got 'rnnt'"):
        Recogniser(only_ctc, tokenizer, decoder="rnnt")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"look_ahead": 1040}, "160, 80, 0 ms, got 1040"),
        ({"decoder": "beam"}, "rnnt, ctc, got 'beam'"),
        ({"device": "cuda:99"}, "cpu.*got 'cuda:99'"),
        ({"device": "abacus"}, "cpu.*got 'abacus'"),
        ({"device": "meta"}, "cpu.*got 'meta'"),
    ],
)
def test_what_there_is_not_is_refused_with_a_list(tokenizer: SentencePiece, options: dict, says: str) -> None:
    with pytest.raises(SpeechError, match=says):
        Recogniser(small_model(), tokenizer, **options)


def test_wrong_calls_are_one_sentence(recogniser: Recogniser, tmp_path: Path) -> None:
    pcm = noise(0.5)
    for call, says in (
        (lambda: recogniser.transcribe(pcm), "sample rate"),
        (lambda: recogniser.transcribe(pcm, 0), "sample rate of"),
        (lambda: recogniser.transcribe(pcm, "16000"), "sample rate of"),  # type: ignore[arg-type]
        (lambda: recogniser.transcribe(pcm.tolist(), RATE), "numpy array.*got list"),  # type: ignore[arg-type]
        (lambda: recogniser.transcribe(None), "numpy array.*got NoneType"),  # type: ignore[arg-type]
        (lambda: recogniser.transcribe(pcm[:, None], RATE), "mono"),
        (lambda: recogniser.transcribe(pcm, RATE, look_ahead=7), "look-ahead"),
        (lambda: recogniser.transcribe(tmp_path / "no.wav"), "no.wav"),
        (lambda: recogniser.stream(RATE, decoder="x"), "decoder"),
        (lambda: recogniser.stream(-1), "sample rate of"),
    ):
        with pytest.raises(SpeechError, match=says):
            call()


def test_a_view_and_an_array_that_is_read_only_are_samples_too(recogniser: Recogniser) -> None:
    pcm = noise(1.0, 3)
    backwards = recogniser.transcribe(pcm[::-1].copy(), RATE)
    assert recogniser.transcribe(pcm[::-1], RATE) == backwards
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert recogniser.transcribe(np.frombuffer(pcm.tobytes(), np.float32)[::-1], RATE) == backwards


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_features_are_as_good_at_any_precision_of_the_weights(tokenizer: SentencePiece, dtype: torch.dtype) -> None:
    model, samples = small_model(), torch.from_numpy(noise(1.0))
    whole = model(samples[None], torch.tensor([RATE]))[0]
    stream = Recogniser(model.to(dtype), tokenizer).stream(RATE)
    seen: list[torch.Tensor] = []
    stream.setup.pipeline.mel.register_forward_hook(lambda *args: seen.append(args[2].data))
    other = stream.setup.pipeline(Frames.whole(samples[None], torch.tensor([RATE]))).data
    assert other.dtype == dtype and torch.allclose(other.float(), whole, atol=0.3, rtol=0.1)
    chunks = torch.cat([stream._driver.push(samples), stream._driver.flush()])
    assert chunks.dtype == dtype and torch.allclose(chunks.float(), other[0].float(), atol=0.3, rtol=0.1)
    assert seen[0].dtype == torch.float32


def test_a_foreign_tokenizer_is_refused(recogniser: Recogniser, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(SpeechError, match="40 pieces, got 2"):
        Recogniser(recogniser.model, WordPiece(tmp_path / "vocab.txt"))


def test_recognising_leaves_the_weights_as_they_are(tokenizer: SentencePiece) -> None:
    model = small_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    recogniser = Recogniser(model, tokenizer)
    for look_ahead in recogniser.look_aheads:
        recogniser.transcribe(noise(0.7), RATE, look_ahead=look_ahead)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
