"""Fine-tuning a voice: folders of any form, what training begins with, and a whole run on a tiny model."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lhotse", reason="the training extra is not installed")
pytest.importorskip("lightning", reason="the training extra is not installed")

import soundfile
import torch
import yaml

from recipes.common.prepare import cache
from recipes.tts_small.lm import fresh_lm, trained_lm, voice_rows
from recipes.tts_small.settings import compose_settings as compose_small
from recipes.tts_small.tracks import PHONES, Phones, save_phones
from recipes.tts_voice.folder import recordings, usable
from recipes.tts_voice.run import main
from recipes.tts_voice.settings import compose_settings
from recipes.tts_voice.start import extended
from speech.errors import SpeechError
from speech.hub.checkpoint import VOICES, load_folder, save
from speech.hub.load import load_synthesiser
from speech.hub.schema import to_tree
from speech.tts.layout import Vocabulary
from speech.tts.model import SynthesiserConfig, SynthesiserModel
from speech.tts.voice import Voice, pack_voices

RATE = 16000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights and two voices, as `tts_small` makes them."""
    sizes = compose_small(["experiment=tts_smoke", "data=tts_folder", "data.root=nowhere"])
    torch.manual_seed(0)
    config = SynthesiserConfig(
        sizes.language_model(3),
        sizes.flow,
        sizes.vocoder,
        text="phonemes",
        sampling=sizes.sampling,
        mel=sizes.mel,
        tokenizer=replace(sizes.content, vocabulary=0),
        speaker=sizes.speaker,
    )
    voices = {name: Voice.plain(torch.randn(8), 80, i + 1) for i, name in enumerate(("one", "two"))}
    return save(tmp_path_factory.mktemp("model") / "small", SynthesiserModel(config), "", {VOICES: pack_voices(voices)})


def tone(path: Path, seconds: float = 0.6) -> None:
    """A vowel-like tone at 150 Hz."""
    t, rng = np.arange(round(seconds * RATE)) / RATE, np.random.default_rng(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    x = sum(np.sin(2 * np.pi * 150 * k * t) / k for k in range(1, 20)) * 0.1
    soundfile.write(path, x + 0.001 * rng.standard_normal(len(t)), RATE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four recordings with their texts, of a speaker called Ann's."""
    folder = tmp_path_factory.mktemp("data") / "Ann's"
    for i in range(4):
        tone(folder / f"{i}.wav")
        (folder / f"{i}.txt").write_text("Ah.\n")
    return folder


def overrides(folder: Path, model: Path, work: Path, *more: str) -> list[str]:
    return [
        "experiment=tts_smoke",
        f"data={folder}",
        f"model={model}",
        f"work={work}",
        "least=1",
        "trainer.precision=32",
        *more,
    ]


def write_phones(arguments: list[str]) -> None:
    """As stage `align` would: the vowel of every utterance but the last, with silence at both ends."""
    audio = cache(compose_settings(arguments), "train")
    said = Phones(np.array([0, PHONES.index("AA1"), 0]), np.array([5, 50, 5]), np.array([-1, 0, -1]))
    save_phones(audio, [said] * (len(audio.cuts()) - 1) + [None])


def test_a_folder_becomes_a_voice_of_the_model(
    folder: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    arguments = overrides(folder, model, tmp_path)
    with pytest.raises(SpeechError, match="stage=prepare"):
        main([*arguments, "stage=f0"])
    main([*arguments, "stage=prepare"])
    write_phones(arguments)
    with caplog.at_level(logging.WARNING):
        main(arguments)
    assert "left out 2: expected its text to be what is said, 'ah' does not fit" in caplog.text
    assert "| Ann's | 1 |" in capsys.readouterr().out
    card = (tmp_path / "export" / "README.md").read_text()
    assert "| lm | 0.0 | 2 |" in card and "| flow | 0.0 | 4 |" in card and "| vocoder | 0.0 | 0 | 0.0 | none |" in card

    speaks, before = load_synthesiser(tmp_path / "export"), load_folder(model).model
    assert speaks.voices == ["Ann's", "one", "two"]
    said = speaks.synthesize("ah, ah", voice="Ann's", seed=1)
    assert said.sample_rate == RATE and np.isfinite(said.samples).all()
    assert speaks.synthesize("ah", voice="two", seed=1).samples.size
    after = load_folder(tmp_path / "export").model
    for part, same in (("lm", False), ("flow", False), ("vocoder", True), ("tokenizer", True), ("speaker", True)):
        old, new = before.get_submodule(part).state_dict(), after.get_submodule(part).state_dict()
        equal = [torch.equal(old[name], new[name]) for name in old if old[name].shape == new[name].shape]
        assert all(equal) == same, part
    old, new = (part.get_submodule("lm").get_parameter("embed.weight") for part in (before, after))
    torch.testing.assert_close(old[-1], new[-2], atol=1e-4, rtol=1e-3)  # another voice's row has no gradient

    main([*arguments, "stage=export", "voices=new_only"])
    assert load_synthesiser(tmp_path / "export").voices == ["Ann's"]
    with pytest.raises(SpeechError, match="choose another work"):
        main([*arguments, "voice=ann"])


def test_a_wrong_folder_can_be_corrected(folder: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match="nowhere is none: check data="):
        main(overrides(tmp_path / "nowhere", model, tmp_path / "work", "stage=prepare"))
    main(overrides(folder, model, tmp_path / "work", "stage=prepare"))


def test_weights_stay_that_are_frozen(folder: Path, model: Path, tmp_path: Path) -> None:
    arguments = overrides(folder, model, tmp_path, "tune=[lm]", "lm.frozen=[decoder,head]", "voice=ann")
    main([*arguments, "stage=prepare"])
    write_phones(arguments)
    main([*arguments, "stage=[codes,lm]"])
    settings = compose_settings(arguments)
    old, new = load_folder(model).model.get_submodule("lm").state_dict(), trained_lm(settings).state_dict()
    grown, row = new.pop("embed.weight"), settings.base.lm.vocabulary.rows
    table = old.pop("embed.weight")
    for name, weight in old.items():
        torch.testing.assert_close(new[name], weight, atol=1e-6, rtol=0, msg=name)  # but for the rounding of averages
    assert voice_rows(settings) == {"ann": 3} and len(grown) == row + 1
    assert (grown[row] - table[-3:].mean(0)).abs().max() > 2e-5
    with pytest.raises(SpeechError, match="name some of embed, decoder, head, got tail"):
        main([*arguments[:-2], "voice=ann", "lm.frozen=[tail]", "stage=lm"])


def test_a_new_row_is_the_mean_of_the_others() -> None:
    with_voices, without = Vocabulary.beside(4, 5, 2, voices=3), Vocabulary.beside(4, 5, 2)
    table = torch.randn(with_voices.rows, 6)
    longer = extended(table, with_voices)
    torch.testing.assert_close(longer, torch.cat([table, table[-3:].mean(0, keepdim=True)]))
    torch.testing.assert_close(extended(table[:-3], without)[-2:], torch.zeros(2, 6))


def pairs(folder: Path) -> None:
    for name in "ab":
        tone(folder / "inner" / f"{name}.flac", 0.5)
        (folder / "inner" / f"{name}.txt").write_text(f"So, {name}!", encoding="utf-8-sig")
    tone(folder / "untold.wav")
    (folder / "broken.wav").write_bytes(b"no sound")
    (folder / "broken.txt").write_text("Nothing.")


def table(folder: Path) -> None:
    for name in "ab":
        tone(folder / "wavs" / f"{name}.wav", 0.5)
    tone(folder / "wavs" / "untold.wav")
    (folder / "metadata.csv").write_text("a|So, a!\nb|Sth., b!|So, b!\n\ngone.wav|Gone.\n")


def manifest(folder: Path) -> None:
    rows = []
    for name, text in {"a": "So, a!", "b": "So, b!", "untold": ""}.items():
        tone(folder / f"{name}.ogg", 0.5)
        rows.append({"id": name, "audio": f"{name}.ogg", "text": text, "duration": 0.5, "sample_rate": RATE})
    rows.append({"id": "gone", "audio": "gone.wav", "text": "Gone.", "duration": 1.0})
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize("form", [pairs, table, manifest])
def test_forms_of_folders(form: Callable[[Path], None], tmp_path: Path) -> None:
    form(tmp_path)
    good, faults = usable(recordings(tmp_path))
    assert {row.recording.id[-1]: row.recording.text for row in good} == {"a": "So, a!", "b": "So, b!"}
    assert all(row.seconds == 0.5 and row.rate == RATE for row in good)
    assert len(faults) == 2
    assert sum("untold" in fault and "expected its text" in fault for fault in faults) == 1
    assert sum("expected a sound file" in fault for fault in faults) == 1


def test_recordings_that_cannot_be_used(tmp_path: Path) -> None:
    for name, seconds in {"short": 0.2, "long": 21.0, "twice": 0.5}.items():
        tone(tmp_path / f"{name}.wav", seconds)
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    tone(tmp_path / "twice.flac")
    for path in list(tmp_path.iterdir()):
        path.with_suffix(".txt").write_text("So.")
    good, faults = usable(recordings(tmp_path))
    assert [row.recording.audio.name for row in good] == ["twice.flac"]
    reasons = ["got 21.0 s: cut", "got 0.2 s: cut", "it is silent", "twice.flac has it too"]
    assert [sum(reason in fault for fault in faults) for reason in reasons] == [1] * 4 == [1] * len(faults)


def foreign(folder: Path) -> Path:
    """The configuration of a model that reads byte pairs."""
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump({"family": "synthesiser", **to_tree(SynthesiserConfig())}))
    return folder


def test_what_cannot_be_done_is_told_in_a_sentence(folder: Path, model: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    row = {"audio": "x.wav", "duration": 1.0}
    rows = [{"id": name, "speaker": name, **row} for name in ("ann", "bob")]
    (mixed / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    cases = [
        (["stage=prepare"], "add data=FOLDER"),
        (overrides(tmp_path / "none", model, tmp_path / "w1"), "check data="),
        (overrides(empty, model, tmp_path / "w2"), "expected recordings"),
        (overrides(mixed, model, tmp_path / "w3"), "one speaker .* ann, bob"),
        (overrides(folder, model, tmp_path / "w4", "least=20"), r"at least 20 s .*4 recordings, 0 left out.* 1\.8 s"),
        (overrides(folder, foreign(tmp_path / "pairs"), tmp_path / "w5"), "byte pairs, which cannot be aligned"),
        (overrides(folder, Path("asr"), tmp_path / "w6"), "asr is a fastconformer"),
        (overrides(folder, model, tmp_path / "w7", "voices=none"), "all or new_only"),
        (overrides(folder, model, tmp_path / "w8", "tune=[content]"), "lm, flow, vocoder, got content"),
    ]
    for arguments, message in cases:
        with pytest.raises(SpeechError, match=message):
            main(arguments)


def test_the_language_model_grows_by_one_voice(folder: Path, model: Path, tmp_path: Path) -> None:
    arguments = overrides(folder, model, tmp_path, "stage=prepare")
    main(arguments)
    settings = compose_settings(arguments)
    grown, before = fresh_lm(settings).config, settings.base.lm
    assert grown.vocabulary.voices == before.vocabulary.voices + 1 == 4
    assert grown.decoder == before.decoder and grown.vocabulary.text == before.vocabulary.text
