from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lhotse", reason="the training extra is not installed")

import soundfile

from recipes.asr_small.settings import compose_settings
from recipes.common.cache import AudioCache
from recipes.common.corpora import read_corpus
from speech.errors import SpeechError


def test_librispeech_layout(tmp_path: Path) -> None:
    chapter = tmp_path / "12" / "345"
    chapter.mkdir(parents=True)
    soundfile.write(chapter / "12-345-0000.flac", np.zeros(8000), 16000)
    (chapter / "12-345.trans.txt").write_text("12-345-0000 IT'S SO\n")
    (cut,) = list(read_corpus(tmp_path, "librispeech"))
    assert (cut.id, cut.duration, cut.supervisions[0].text) == ("12-345-0000", 0.5, "it's so")
    assert cut.supervisions[0].speaker == "12"
    assert cut.load_audio().shape == (1, 8000)  # a cut is a lhotse cut like any other


def test_a_librispeech_transcript_without_its_recording_is_named(tmp_path: Path) -> None:
    chapter = tmp_path / "12" / "345"
    chapter.mkdir(parents=True)
    (chapter / "12-345.trans.txt").write_text("12-345-0000\n")
    with pytest.raises(SpeechError, match=r"12-345-0000\.flac that 12-345\.trans\.txt speaks of"):
        read_corpus(tmp_path, "librispeech")


def test_cache_holds_the_signal_at_16_khz_and_leaves_out_what_cannot_be_read(tmp_path: Path) -> None:
    t = np.arange(8000) / 8000
    soundfile.write(tmp_path / "good.wav", np.stack([0.5 * np.sin(2 * np.pi * 300 * t), 0 * t], 1), 8000)
    (tmp_path / "bad.wav").write_text("no sound")
    rows = [{"id": n, "audio": f"{n}.wav", "text": n, "duration": 1.0, "sample_rate": 8000} for n in ("bad", "good")]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    cache = AudioCache(tmp_path / "cache", "some")
    with pytest.raises(SpeechError, match="stage=prepare"):
        cache.cuts()
    cache.build(lambda: read_corpus(tmp_path, "manifest"), tmp_path / "manifest.jsonl", 2)
    (cut,) = cache.cuts()
    signal = cache.audio(cut)
    assert (cut.id, len(signal)) == ("good", 16000)
    wanted = 0.25 * np.sin(2 * np.pi * 300 * np.arange(16000) / 16000)
    np.testing.assert_allclose(signal[500:-500], wanted[500:-500], atol=2e-3)


def test_a_corpus_of_which_nothing_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_text("no sound")
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(json.dumps({"id": "bad", "audio": "bad.wav", "duration": 1.0}) + "\n\n")
    cache = AudioCache(tmp_path / "cache", "some")
    with pytest.raises(SpeechError, match="recordings that can be read"):
        cache.build(lambda: read_corpus(tmp_path, "manifest"), manifest, 1)
    assert not cache.ready


@pytest.mark.parametrize("line", ["{", '{"id": "x"}', "[]"])
def test_a_bad_manifest_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "manifest.jsonl").write_text(line)
    with pytest.raises(SpeechError, match="line 1 of"):
        read_corpus(tmp_path, "manifest")


def test_no_corpus_there(tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match=r"manifest.*data.root"):
        read_corpus(tmp_path, "manifest")
    with pytest.raises(SpeechError, match="expected speech in"):
        read_corpus(tmp_path, "librispeech")


def test_evaluation_corpora_are_no_training_corpora() -> None:
    data = compose_settings([]).raw.data
    assert not set(data.train) & set(data.evaluation)
    assert not any("test" in name or "misc" in name or "common_voice" in name for name in data.train)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optim.nosuch=1"], "nosuch"),
        (["optim.lr=fast"], "optim.lr"),
        (["model=huge"], "huge"),
        (["data=folder"], "data.root"),
    ],
)
def test_overrides_that_do_not_fit(overrides: list[str], message: str) -> None:
    with pytest.raises(SpeechError, match=message):
        compose_settings(overrides)


def test_model_sizes() -> None:
    from speech.asr.model import FastConformer

    for name, most in (("small", 12e6), ("tiny", 6.2e6)):
        model = FastConformer(compose_settings([f"model={name}"]).model)
        assert 3e6 < sum(p.numel() for p in model.parameters()) <= most
