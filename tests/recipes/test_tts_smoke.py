"""The recipe of the synthesiser on a corpus made here: its stages, and a training that is broken off and goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lhotse", reason="the training extra is not installed")
pytest.importorskip("lightning", reason="the training extra is not installed")

import soundfile
import torch

from recipes.common.prepare import cache
from recipes.tts_small.run import main
from recipes.tts_small.settings import compose_settings
from recipes.tts_small.tracks import PHONES, Phones, load_f0, load_phones, save_phones
from recipes.tts_small.vocoder import trained_vocoder
from speech.errors import SpeechError
from speech.hub.load import load_synthesiser


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 utterances of one vowel-like tone each, at 150 Hz; some are held out, and two are for evaluation."""
    root, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    t = np.arange(8000) / 16000
    for name, number in (("train", 120), ("eval", 2)):
        (root / name).mkdir()
        rows = []
        for i in range(number):
            x = sum(np.sin(2 * np.pi * 150 * k * t) / k for k in range(1, 20)) * 0.1 + 0.001 * rng.standard_normal(8000)
            soundfile.write(root / name / f"{i}.wav", x, 16000)
            rows.append(
                {"id": f"{name}{i}", "audio": f"{i}.wav", "text": "ah", "duration": 0.5, "speaker": f"{name}{i % 2}"}
            )
        (root / name / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root


def overrides(corpus: Path, work: Path, *more: str) -> list[str]:
    data = ["data=tts_folder", f"data.root={corpus}", "data.train=[train]", "data.evaluation=[eval]"]
    return ["experiment=tts_smoke", f"work={work}", *data, "trainer.precision=32", *more]


def rows(work: Path) -> dict[int, dict[str, float]]:
    lines = map(json.loads, (work / "vocoder" / "log.jsonl").read_text().splitlines())
    return {row["step"]: row for row in lines if "mel" in row}


def test_stages_and_exact_resume(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    with pytest.raises(SpeechError, match="stage=prepare"):
        main(overrides(corpus, whole, "stage=f0"))
    main(overrides(corpus, whole, "stage=prepare"))
    with pytest.raises(SpeechError, match="stage=f0"):
        main(overrides(corpus, whole, "stage=vocoder"))
    main(overrides(corpus, whole, "stage=[f0,vocoder,copy_synthesis]"))
    assert "| eval | 2 |" in capsys.readouterr().out
    parts = [set(row) & {"mel", "spectral", "f0", "adversarial", "features"} for row in rows(whole).values()]
    early = {"mel", "spectral", "f0"}
    assert parts == [early, early, early | {"adversarial", "features"}, early | {"adversarial", "features"}]

    main(overrides(corpus, broken, "stage=[prepare,f0]"))
    for _ in range(4):  # a sitting of one step
        main(overrides(corpus, broken, "stage=vocoder", "trainer.minutes=0"))
    assert len(rows(broken)) == 4
    for step, row in rows(whole).items():
        again = rows(broken)[step]
        assert {name: again[name] for name in row if name != "audio_per_second"} == pytest.approx(
            {name: value for name, value in row.items() if name != "audio_per_second"}, rel=1e-5
        )
    first, second = (trained_vocoder(compose_settings(overrides(corpus, work))) for work in (whole, broken))
    for name, tensor in first.state_dict().items():
        torch.testing.assert_close(tensor, second.state_dict()[name], msg=name)
    with pytest.raises(SpeechError, match="choose another work"):
        main(overrides(corpus, whole, "stage=vocoder", "vocoder.model.dim=24"))


def write_phones(arguments: list[str]) -> None:
    """As stage `align` would: the vowel of every utterance, with silence at both ends."""
    audio = cache(compose_settings(arguments), "train")
    said = Phones(np.array([0, PHONES.index("AA1"), 0]), np.array([5, 40, 5]), np.array([-1, 0, -1]))
    save_phones(audio, [said] * len(audio.cuts()))


def test_all_parts_make_a_checkpoint_that_speaks(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = overrides(corpus, tmp_path)
    main([*arguments, "stage=[prepare,f0]"])
    with pytest.raises(SpeechError, match="stage=align"):
        main([*arguments, "stage=content"])
    write_phones(arguments)
    for stage, needed in (("codes", "content"), ("lm", "codes"), ("flow", "codes"), ("export", "content")):
        with pytest.raises(SpeechError, match=f"stage={needed}"):
            main([*arguments, f"stage={stage}"])
    main([*arguments, "stage=[vocoder,content,codes,speaker,lm]"])
    main([*arguments, "stage=flow", "trainer.minutes=0"])  # a sitting of one step
    main([*arguments, "stage=[flow,evaluate,export]"])
    log = map(json.loads, (tmp_path / "flow" / "log.jsonl").read_text().splitlines())
    assert [row["step"] for row in log if "lr" in row] == [1, 2, 3, 4]
    out = capsys.readouterr().out
    assert "| train0 | 2 |" in out and "wer_pocketsphinx" in out
    card = (tmp_path / "export" / "README.md").read_text()
    assert "| train |" in card and "| vocoder |" in card and "wer_pocketsphinx" in card

    speaks = load_synthesiser(tmp_path / "export")
    assert speaks.voices == ["train0", "train1"]
    said = speaks.synthesize("ah, ah", seed=1)
    assert said.sample_rate == 16000 and np.isfinite(said.samples).all()
    np.testing.assert_array_equal(speaks.synthesize("ah, ah", seed=1).samples, said.samples)


def test_f0_and_phones_come_back_by_utterance(corpus: Path, tmp_path: Path) -> None:
    arguments = overrides(corpus, tmp_path, "stage=[prepare,f0]")
    main(arguments)
    audio = cache(compose_settings(arguments), "train")
    f0 = load_f0(audio)["train7"]
    assert f0.shape == (50,)
    np.testing.assert_allclose(f0[5:-5], 150, atol=0.5)
    with pytest.raises(SpeechError, match="stage=align"):
        load_phones(audio)
    known = Phones(np.array([0, 3, 0]), np.array([5, 40, 5]), np.array([-1, 0, -1]))
    ids = [cut.id for cut in audio.cuts()]
    save_phones(audio, [known if name in ("train3", "train7") else None for name in ids])
    stored = load_phones(audio)
    assert sorted(stored) == ["train3", "train7"]
    for column, wanted in zip(stored["train7"], known, strict=True):
        np.testing.assert_array_equal(column, wanted)


@pytest.mark.parametrize(
    ("override", "message"),
    [("vocoder.model.stft_hop=4", "vocoder for the mel frames"), ("vocoder.segments.frames=900", "shorten")],
)
def test_settings_that_do_not_fit(corpus: Path, tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(SpeechError, match=message):
        main(overrides(corpus, tmp_path, "stage=[prepare,f0,vocoder]", override))
