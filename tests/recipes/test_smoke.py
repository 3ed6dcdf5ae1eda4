"""The whole recipe on a corpus made here: every stage, and a training that is killed and goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lhotse", reason="the training extra is not installed")
pytest.importorskip("lightning", reason="the training extra is not installed")

import soundfile

from recipes.asr_small.run import main
from recipes.common.cache import AudioCache
from speech.errors import SpeechError

ROOT = Path(__file__).parents[2]

KILLED = """
import os, signal, sys
from lightning.pytorch import Trainer
from recipes.asr_small.run import main

save = Trainer.save_checkpoint

def die(trainer, path):
    save(trainer, path)
    if trainer.global_step == 6:
        path.write_bytes(path.read_bytes()[:1000])
        os.kill(os.getpid(), signal.SIGKILL)

Trainer.save_checkpoint = die
main(sys.argv[1:])
"""
"""A training that is killed while it writes its sixth checkpoint."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 utterances of beeps, one pitch a letter; some are held out, and eight are for evaluation."""
    root, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    for name, count in (("train", 150), ("eval", 8)):
        folder = root / name
        folder.mkdir()
        with (folder / "manifest.jsonl").open("w") as manifest:
            for i in range(count):
                words = ["".join(rng.choice(list("abcdefgh"), 2)) for _ in range(rng.integers(1, 4))]
                text = " ".join(words)
                pitch = np.repeat([200.0 + 90 * "abcdefgh ".index(c) for c in text], 4000)
                x = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / 16000)
                soundfile.write(folder / f"{name}{i}.wav", x, 16000)
                row = {"id": f"{name}{i}", "audio": f"{name}{i}.wav", "text": text.upper(), "duration": len(x) / 16000}
                manifest.write(json.dumps(row) + "\n")
    return root


def overrides(corpus: Path, work: Path, *more: str) -> list[str]:
    data = ["data=folder", f"data.root={corpus}", "data.train=[train]", "data.evaluation=[eval]"]
    exact = ["trainer.precision=32", "model.encoder.dropout=0", "model.encoder.attention_dropout=0"]
    exact += ["model.prediction.dropout=0", "model.prediction.joint_dropout=0", "tokenizer.vocabulary=16"]
    return ["experiment=smoke", f"work={work}", *data, *exact, *more]


def losses(work: Path) -> dict[int, float]:
    rows = map(json.loads, (work / "log.jsonl").read_text().splitlines())
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def test_every_stage(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from speech.hub.checkpoint import load_folder

    main(overrides(corpus, tmp_path, "stage=[prepare,batch_size,train,evaluate,export]"))
    printed = capsys.readouterr().out
    assert "| eval | ctc |" in printed
    assert "| eval | rnnt |" in printed
    assert any("val_wer" in line for line in printed.splitlines())
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert set(scores["wer"]["eval"]["rnnt"]) == {"0", "80", "480", "1040"}
    checkpoint = load_folder(tmp_path / "export")
    assert checkpoint.config.vocabulary == 16
    assert "| train | " in (tmp_path / "export" / "README.md").read_text()
    with pytest.raises(SpeechError, match="choose another work"):
        main(overrides(corpus, tmp_path, "stage=train", "model.encoder.layers=1"))
    # the exported weights start another training, and one with CTC alone exports no transducer
    again = tmp_path / "again"
    main(
        overrides(
            corpus,
            again,
            "stage=[prepare,train,export]",
            f"init_from={tmp_path / 'export'}",
            "optim.transducer_weight=0",
            "optim.steps=1",
        )
    )
    assert (again / "tokenizer.model").read_bytes() == (tmp_path / "tokenizer.model").read_bytes()
    assert load_folder(again / "export").config.prediction is None


def test_a_transducer_alone(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = ["model.ctc=false", "optim.transducer_weight=1", "optim.steps=1", "trainer.validate_every=1"]
    main(overrides(corpus, tmp_path, "stage=[prepare,train,evaluate]", *alone))
    printed = capsys.readouterr().out
    assert any("val_wer" in line for line in printed.splitlines())
    assert "| eval | rnnt |" in printed and "| eval | ctc |" not in printed
    for wrong, says in (
        (["model.ctc=false"], "set optim.transducer_weight=1"),
        ([*alone, "optim.transducer_start=0.5"], r"optim\.transducer_start=0"),
        (["model.prediction=null"], "set optim.transducer_weight=0"),
    ):
        with pytest.raises(SpeechError, match=says):
            main(overrides(corpus, tmp_path / "none", *wrong))
    assert not (tmp_path / "none").exists()


def test_word_times_guide_a_training(corpus: Path, tmp_path: Path) -> None:
    from recipes.asr_small.settings import compose_settings
    from recipes.asr_small.weights import trained

    guided = ["optim.alignment=0.3", "optim.intermediate=0.3", "optim.transducer_start=0.5", "optim.steps=4"]
    guided += ["optim.contexts_start=2", "optim.context_weights=[3,2,2,2]", "augment.features.start=2"]
    main(overrides(corpus, tmp_path, "stage=prepare"))
    with pytest.raises(SpeechError, match="stage=align"):
        main(overrides(corpus, tmp_path, "stage=train", *guided))
    audio = AudioCache(tmp_path / "audio", "train")
    texts = {cut.id: (cut.supervisions[0].text or "").split() for cut in audio.cuts()}
    times = {name: [(0.75 * i, 0.75 * i + 0.5) for i in range(len(words))] for name, words in texts.items()}
    audio.words.write_text(json.dumps(times))
    main(overrides(corpus, tmp_path, "stage=train", *guided, "trainer.minutes=0"))
    early = compose_settings(overrides(corpus, tmp_path, *guided))
    assert trained(early)[0].prediction is None  # the transducer has not begun
    main(overrides(corpus, tmp_path, "stage=[train,pack]", *guided))
    assert trained(early)[0].prediction is not None
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    parts = [set(row) & {"ctc", "ctc_middle", "alignment", "transducer"} for row in rows if "loss" in row]
    always = {"ctc", "ctc_middle", "alignment"}
    assert parts == [always, always, always | {"transducer"}, always | {"transducer"}]
    # what was packed is a work folder to train in
    packed, here = tmp_path / "packed", tmp_path / "here"
    packed.rename(here)
    place = [f"data.root={here / 'data'}", "data.evaluation=[]", "optim.steps=1"]
    main([*overrides(corpus, here, "stage=[prepare,train]", *guided), *place])
    with pytest.raises(SpeechError, match="context_weights"):
        main(overrides(corpus, tmp_path, "stage=train", "optim.context_weights=[1]"))


def test_a_killed_training_goes_on_as_if_nothing_had_happened(corpus: Path, tmp_path: Path) -> None:
    steps = ["optim.steps=12", "trainer.validate_every=100"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    main(overrides(corpus, whole, "stage=[prepare,train]", *steps))
    main(overrides(corpus, broken, "stage=prepare"))
    often = overrides(corpus, broken, "stage=train", *steps, "trainer.checkpoint_minutes=0")
    done = subprocess.run([sys.executable, "-c", KILLED, *often], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL and max(losses(broken)) == 6
    assert {path.name for path in broken.glob("checkpoints/*")} == {"step=4.ckpt", "step=5.ckpt", "step=6.partial"}
    main(often)
    wanted, got = losses(whole), losses(broken)
    assert sorted(got) == list(range(1, 13))
    assert got == pytest.approx(wanted, rel=2e-3)


def test_stages_ask_for_what_they_need(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match="stage=prepare"):
        main(overrides(corpus, tmp_path, "stage=train"))
    with pytest.raises(SpeechError, match="expected stage"):
        main(overrides(corpus, tmp_path, "stage=dance"))
    for wrong, says in (
        ("tokenizer.vocabulary=900", "900 pieces .* Vocabulary size too high"),
        ("data.text=[no.gz]", "No such file .*no.gz"),
        ("tokenizer.path=no.model", "tokenizer.path=no.model, found none"),
    ):
        with pytest.raises(SpeechError, match=says):
            main(overrides(corpus, tmp_path, "stage=prepare", wrong))
    main(overrides(corpus, tmp_path, "stage=prepare"))
    with pytest.raises(SpeechError, match="stage=train"):
        main(overrides(corpus, tmp_path, "stage=evaluate"))
    with pytest.raises(SpeechError, match="init_from"):
        main(overrides(corpus, tmp_path, "stage=train", "init_from=nowhere"))
