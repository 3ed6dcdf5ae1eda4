"""The whole recipe of the causal Whisper on a corpus made here: every stage, and a training that goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lhotse", reason="the training extra is not installed")
pytest.importorskip("lightning", reason="the training extra is not installed")

import soundfile
from typer.testing import CliRunner

from recipes.causal_whisper.run import main
from recipes.causal_whisper.settings import compose_settings
from recipes.causal_whisper.weights import tuned
from recipes.common.cache import AudioCache
from speech.asr.whisper.model import Whisper
from speech.cli.main import app
from speech.errors import SpeechError
from speech.hub.checkpoint import load_folder
from tests.cli.microphone import heard


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 utterances of beeps, one pitch a word; some are held out, and four are for evaluation."""
    root, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    names = "able baker charlie dog".split()
    for name, count in (("train", 150), ("eval", 4)):
        folder = root / name
        folder.mkdir()
        with (folder / "manifest.jsonl").open("w") as manifest:
            for i in range(count):
                words = rng.choice(names, rng.integers(2, 5))
                pitch = np.repeat([200.0 + 90 * names.index(word) for word in words], 8000)
                x = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / 16000)
                soundfile.write(folder / f"{name}{i}.wav", x, 16000)
                text = " ".join(words)
                row = {"id": f"{name}{i}", "audio": f"{name}{i}.wav", "text": text, "duration": len(x) / 16000}
                manifest.write(json.dumps(row) + "\n")
    return root


@pytest.fixture(scope="module")
def work(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder in which every utterance is prepared, and aligned by those who made it."""
    work = tmp_path_factory.mktemp("work")
    main(overrides(corpus, work, "stage=prepare"))
    for name in ("train", "eval"):
        audio = AudioCache(work / "audio", name)
        counts = {cut.id: len((cut.supervisions[0].text or "").split()) for cut in audio.cuts()}
        times = {key: [(0.5 * i, 0.5 * i + 0.5) for i in range(count)] for key, count in counts.items()}
        audio.words.write_text(json.dumps(times))
    return work


def overrides(corpus: Path, work: Path, *more: str) -> list[str]:
    data = ["data=folder", f"data.root={corpus}", "data.train=[train]", "data.evaluation=[eval]"]
    return ["experiment=whisper_smoke", f"work={work}", *data, "trainer.precision=32", *more]


def exported(corpus: Path, work: Path) -> Path:
    """The checkpoint folder that the recipe makes; made unless it is there."""
    if not (work / "export").is_dir():
        main(overrides(corpus, work, "stage=[pretrain,train,export]"))
    return work / "export"


def losses(folder: Path) -> dict[int, float]:
    rows = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def test_every_stage(corpus: Path, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(overrides(corpus, work, "stage=all"))
    printed = capsys.readouterr().out
    assert "| eval | before |" in printed and "| eval | after |" in printed
    assert "val_wrong" in printed
    scores = json.loads((work / "scores.json").read_text())
    assert scores["chunk_ms"] == 200 and scores["steps"] == 4
    assert set(scores["scores"]["eval"]["after"]) == {"whole", "streaming", "partial", "delay_ms"}
    assert json.loads((work / "curve.jsonl").read_text()) == scores
    checkpoint = load_folder(work / "export")
    assert isinstance(checkpoint.model, Whisper)
    assert [context.milliseconds for context in checkpoint.config.contexts] == [200, 100]
    assert "| train | " in (work / "export" / "README.md").read_text()
    with pytest.raises(SpeechError, match="choose another work"):
        main(overrides(corpus, work, "stage=train", "train.chunks.sizes=[5]"))


def test_the_export_is_spoken_to(corpus: Path, work: Path, tmp_path: Path) -> None:
    """From a file, and live: hardly trained, it may say anything or nothing."""
    folder, recording = exported(corpus, work), corpus / "eval" / "eval0.wav"
    done = CliRunner().invoke(app, ["transcribe", str(recording), "--model", str(folder), "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["duration"] == soundfile.info(recording).duration
    *_, timings = heard(folder, recording, tmp_path)
    assert timings["type"] == "timings" and timings["audio"] >= soundfile.info(recording).duration


def test_updates_of_low_rank_on_a_whisper_from_disk(corpus: Path, work: Path, tmp_path: Path) -> None:
    export = exported(corpus, work)
    (tmp_path / "audio").symlink_to(work / "audio")
    given = [f"init_from={export}", "train.lora={rank: 2, alpha: null}", "train.optim.lr=0.1"]
    main(overrides(corpus, tmp_path, "stage=[prepare,pretrain,train]", *given))
    assert not (tmp_path / "pretrain").exists()
    before = load_folder(export).model.state_dict()
    after = tuned(compose_settings(overrides(corpus, tmp_path, *given)))[0].state_dict()
    changed = {name for name in after if (after[name] - before[name]).abs().max() > 1e-5}  # averaging rounds
    attentions = ("attention.qkv.weight", "attention.out.weight", "cross.query.weight", "cross.key.weight")
    assert changed and all(name.endswith((*attentions, "cross.value.weight", "cross.out.weight")) for name in changed)


def test_a_training_goes_on_as_if_nothing_had_happened(corpus: Path, work: Path, tmp_path: Path) -> None:
    for name in ("whole", "broken"):
        folder = tmp_path / name
        folder.mkdir()
        for shared in ("audio", "tokenizer.json", "vocabulary.json"):
            (folder / shared).symlink_to(work / shared)
    steps = ["stage=[pretrain,train]", "pretrain.optim.steps=6", "train.optim.steps=6", "trainer.validate_every=100"]
    main(overrides(corpus, tmp_path / "whole", *steps))
    main(overrides(corpus, tmp_path / "broken", *steps, "stage=pretrain", "trainer.minutes=0"))
    assert max(losses(tmp_path / "broken" / "pretrain")) == 1
    main(overrides(corpus, tmp_path / "broken", *steps, "stage=pretrain"))
    for _ in range(2):
        main(overrides(corpus, tmp_path / "broken", *steps, "stage=train", "trainer.minutes=0"))
    assert max(losses(tmp_path / "broken" / "train")) == 2
    main(overrides(corpus, tmp_path / "broken", *steps))
    for stage in ("pretrain", "train"):
        wanted, got = losses(tmp_path / "whole" / stage), losses(tmp_path / "broken" / stage)
        assert sorted(got) == list(range(1, 7))
        assert got == pytest.approx(wanted, rel=1e-4)


def test_stages_ask_for_what_they_need(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match="stage=prepare"):
        main(overrides(corpus, tmp_path, "stage=pretrain"))
    with pytest.raises(SpeechError, match="expected stage"):
        main(overrides(corpus, tmp_path, "stage=dance"))
    with pytest.raises(SpeechError, match="shortest <= longest"):
        main(overrides(corpus, tmp_path, "stage=train", "train.crops.longest=0.5"))
    main(overrides(corpus, tmp_path, "stage=prepare"))
    with pytest.raises(SpeechError, match="stage=align"):
        main(overrides(corpus, tmp_path, "stage=pretrain"))
    with pytest.raises(SpeechError, match="stage=pretrain"):
        main(overrides(corpus, tmp_path, "stage=train"))
    with pytest.raises(SpeechError, match="does not exist"):
        main(overrides(corpus, tmp_path, "stage=train", "init_from=nowhere"))
