"""`speech.load` for synthesisers: from a folder of CosyVoice, whole or as a checkpoint of ours, to speech."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import speech
from speech.errors import SpeechError
from speech.flow.layers import Context
from speech.flow.solver import Sampling
from speech.hub.checkpoint import save
from speech.hub.cosyvoice.folder import convert
from speech.hub.load import load, load_recogniser, load_synthesiser
from speech.kernels.linear import Linear
from speech.tts.layout import NOTHING
from speech.tts.reader import PairReader
from speech.tts.sampling import SamplingConfig
from speech.tts.session import Speech
from speech.tts.synthesiser import Synthesiser
from speech.tts.voice import Voice, pack_voices
from tests.asr.small import small_model
from tests.hub.public import second, third_version
from tests.tts.small import small_synthesiser

FEW = Sampling(steps=2)
SENTENCE = "So it goes. And so it goes on."
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the ONNX exporter


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    return second(tmp_path_factory.mktemp("public") / "model", shared / "fixtures")


@pytest.fixture(scope="module")
def folder(public: Path) -> Path:
    return convert(public, public.with_name("ours"))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("voices") / "friend.wav"
    noise = 0.1 * np.random.default_rng(0).standard_normal(16000)
    soundfile.write(path, noise, 16000)
    return path


@pytest.fixture(scope="module")
def synthesiser(folder: Path, recording: Path) -> Synthesiser:
    """It speaks like a recording whose text is known, on a CPU."""
    return load_synthesiser(folder, "cpu", voice=recording, voice_text="so it goes", sampling=FEW)


@pytest.fixture(scope="module")
def whole(synthesiser: Synthesiser) -> Speech:
    return synthesiser.synthesize(SENTENCE, seed=1)


def test_a_voice_from_a_recording_speaks_whole_and_streamed(
    synthesiser: Synthesiser, whole: Speech, recording: Path
) -> None:
    assert synthesiser.voices == [str(recording)] and synthesiser.sample_rate == 24000
    assert whole.seconds > 0.4 and np.isfinite(whole.samples).all() and np.abs(whole.samples).max() > 0.01
    with synthesiser.stream(iter(SENTENCE), seed=1) as stream:
        parts = list(stream)
    assert len(parts) > 1
    np.testing.assert_allclose(np.concatenate([part.samples for part in parts]), whole.samples, atol=1e-4)


def test_weights_are_laid_out_before_they_are_shared(synthesiser: Synthesiser) -> None:
    """What a stream runs, views of the network included, runs on packed weights."""
    if not torch.backends.mkldnn.is_available() or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("weights are packed on x86 alone")
    model = synthesiser.model
    for part in (model.lm, model.flow.estimator.at(Context(25, 50)), model.flow.encoder(), model.vocoder):
        assert all(m.weight.is_mkldnn for m in part.modules() if isinstance(m, Linear))


def test_the_flows_memory_is_chosen(synthesiser: Synthesiser, whole: Speech, folder: Path, tmp_path: Path) -> None:
    """A memory as long as what is said is as good as one without bounds; a shorter one is not."""
    synthesiser.save_voice(synthesiser.voices[0], tmp_path / "friend.safetensors")
    for left, alike in ((400, True), (0, False)):
        context = Context(25, left)
        found = load_synthesiser(folder, "cpu", voice=tmp_path / "friend.safetensors", sampling=FEW, context=context)
        other = found.synthesize(SENTENCE, seed=1).samples
        assert (
            np.abs(other - whole.samples).max() < 0.02
        ) == alike  # a vocoder of random weights makes much of rounding


def test_a_public_folder_is_loaded_as_it_is(
    public: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recording: Path
) -> None:
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path))
    found = load(public, "cpu", voice=str(recording), sampling=FEW)
    assert isinstance(found, Synthesiser) and isinstance(found, speech.Synthesiser)
    assert isinstance(found.reader, PairReader) and found.latency.codes == 28


def test_version_3_reads_its_instruction_first(tmp_path: Path, recording: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    found = load_synthesiser(convert(third_version(tmp_path / "model"), tmp_path / "made"), voice=recording)
    assert isinstance(found.reader, PairReader)
    ids = found.reader.tokenizer.encode("You are a helpful assistant.<|endofprompt|>")
    assert ids[-1] == found.reader.tokenizer.id("<|endofprompt|>")
    script = found.reader.script(NOTHING)
    script.push([1] * 5)
    rows = [row for (row,) in script.feed()]
    vocabulary = found.model.config.lm.vocabulary
    assert rows[: len(ids) + 1] == [vocabulary.sos, *(vocabulary.first_text + id for id in ids)]
    assert np.isfinite(found.synthesize("So it goes.", seed=0).samples).all()


def test_without_onnxruntime_it_speaks_but_takes_no_voices_up(
    tmp_path: Path, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    public = third_version(tmp_path / "model")
    torch.save({"anna": {"embedding": torch.linspace(-1, 1, 5)[None]}}, public / "spk2info.pt")
    folder = convert(public, tmp_path / "made")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = load_synthesiser(folder, "cpu")
    assert found.voices == ["anna"] and found.synthesize("So it goes.", seed=0).seconds > 0.1
    with pytest.raises(SpeechError, match="pip install onnxruntime"):
        found.add_voice("friend", recording)


def test_voices_are_kept(synthesiser: Synthesiser, whole: Speech, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "kept.safetensors"
    synthesiser.save_voice(synthesiser.voices[0], path)
    again = load_synthesiser(folder, "cpu", voice=path, sampling=FEW)
    assert again.voices == synthesiser.voices
    assert np.array_equal(again.synthesize(SENTENCE, seed=1).samples, whole.samples)
    with pytest.raises(SpeechError, match="expected to write the voice"):
        again.save_voice(again.voices[0], tmp_path / "none" / "kept.safetensors")
    with pytest.raises(SpeechError, match=r"expected a voice of .*friend\.wav, got 'nobody'"):
        again.save_voice("nobody", path)
    path.write_bytes(pack_voices({"other": Voice.plain(torch.randn(7), 80)}))
    with pytest.raises(SpeechError, match=r"voice of this model .* 'other' is of another"):
        again.load_voices(path)
    with pytest.raises(SpeechError, match="damaged"):
        again.load_voices(tmp_path / "none.safetensors")


def test_a_checkpoint_of_ours_with_phonemes_and_voices(tmp_path: Path) -> None:
    small = small_synthesiser(draft_heads=2)
    voices = {name: small._voices[name] for name in small.voices}
    folder = save(tmp_path / "small", small.model, "# S\n", {"voices.safetensors": pack_voices(voices)}, torch.float32)
    found = load_synthesiser(folder, "cpu")
    assert found.voices == small.voices == ["plain", "prompted"]
    spoken = found.synthesize("Hello there.", seed=1)
    assert spoken.words and np.isfinite(spoken.samples).all()
    drafting = load_synthesiser(folder, "cpu", codes=SamplingConfig(drafts=2)).synthesize("Hello there.", seed=1)
    np.testing.assert_allclose(drafting.samples, spoken.samples, atol=1e-4)
    with pytest.raises(SpeechError, match="expected at most 2 drafts"):
        load(folder, "cpu", codes=SamplingConfig(drafts=3))
    narrow = load_synthesiser(folder, "cpu", torch.bfloat16, voice="prompted")
    assert narrow.voices == ["prompted", "plain"] and narrow.model.lm.head.weight.dtype == torch.bfloat16
    assert np.isfinite(narrow.synthesize("Hello there.", "plain", seed=1).samples).all()
    for voice, text, message in (
        ("nobody", None, r"voice of the model \(plain, prompted\) or a recording of one, got 'nobody'"),
        ("plain", "hello", "voice_text beside a recording only, plain is a voice already"),
        (None, "hello", "voice_text beside the recording of a voice, got it alone"),
        (str(folder / "model.safetensors"), None, "voice"),
        (str(folder / "config.yaml"), None, "takes voices up from recordings, this one has none"),
    ):
        with pytest.raises(SpeechError, match=message):
            load(folder, voice=voice, voice_text=text)


def test_arguments_of_another_kind_of_model_are_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("the\n")
    listens = save(tmp_path / "asr", small_model(), "", {"vocab.txt": tmp_path / "vocab.txt"})
    with pytest.raises(
        SpeechError, match=r"look_ahead, decoder, weights, cache for the recogniser \S+asr, got voice: leave that out"
    ):
        load(listens, voice="anna")
    with pytest.raises(SpeechError, match=r"voice, .* for the synthesiser \S+ours, got look_ahead, decoder"):
        load(folder, look_ahead=80, decoder="ctc")
    with pytest.raises(SpeechError, match=r"expected a recogniser, \S+ours is a synthesiser"):
        load_recogniser(folder)
    with pytest.raises(SpeechError, match=r"expected a synthesiser, \S+asr is a recogniser"):
        load_synthesiser(listens)


def test_a_checkpoint_without_its_tokenizer(folder: Path, tmp_path: Path) -> None:
    for name in ("model.safetensors", "config.yaml"):
        (tmp_path / name).symlink_to(folder / name)
    with pytest.raises(SpeechError, match=r"expected tokenizer\.json"):
        load_synthesiser(tmp_path)
