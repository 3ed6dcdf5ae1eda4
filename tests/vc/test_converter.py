"""The converter as users meet it: recordings of all kinds, targets, settings, and what is said of what is no good."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speech.audio.file import Audio
from speech.content.reference import mean_vector
from speech.errors import SpeechError
from speech.vc.converter import Converter
from speech.vc.voice import TargetVoice, pack_targets, read_targets
from tests.sounds import music, said
from tests.vc.small import MEL, SPEAKER, small_converter, small_model, small_target, voice


@pytest.fixture(scope="module")
def converter() -> Converter:
    return small_converter()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings, good and bad."""
    folder = tmp_path_factory.mktemp("recordings")
    sounds = {
        "good.wav": (said(1.2), 16000),
        "other.wav": (said(1.5, 22050, 6.0), 22050),
        "narrow.wav": (voice(0.3, 8000), 8000),
        "wide.wav": (np.stack([voice(0.3, 48000)] * 2, 1), 48000),
        "odd.wav": (voice(0.3, 11127), 11127),
        "short.wav": (voice(0.4), 16000),
        "instant.wav": (voice(0.01), 16000),
        "silent.wav": (np.zeros(32000, np.float32), 16000),
        "faint.wav": (1e-4 * voice(1.2), 16000),
        "music.wav": (music(4.0), 16000),
        "mostly_music.wav": (np.concatenate([music(6.0), said(1.0)]), 16000),
        "clipped.wav": ((40 * said(1.2)).clip(-1, 1), 16000),
        "eight.wav": (np.stack([voice(1.2)] * 8, 1), 16000),
    }
    for name, (samples, rate) in sounds.items():
        soundfile.write(folder / name, samples, rate, subtype="FLOAT")
    (folder / "text.wav").write_text("no sound")
    return folder


@pytest.mark.parametrize("name", ["narrow.wav", "wide.wav", "odd.wav"])
def test_recordings_keep_their_length(converter: Converter, folder: Path, name: str) -> None:
    samples, rate = soundfile.read(folder / name, dtype="float32", always_2d=True)
    made = converter.convert(folder / name, "ben")
    assert made.sample_rate == converter.output_rate == 16000
    assert len(made.samples) == -(-len(samples) * 16000 // rate) and made.samples.std() > 0.05
    array = converter.convert(samples[:, 0].copy(), "ben", rate)
    np.testing.assert_allclose(made.samples, array.samples, atol=1e-4)
    assert np.array_equal(converter.convert(Audio(samples[:, 0].copy(), rate), "ben").samples, array.samples)


def test_memory_does_not_grow_with_the_recording(converter: Converter) -> None:
    """A piece comes as soon as its second is in, and all pieces are the whole."""
    x = said(5.0)
    pieces = list(converter.pieces(x, sample_rate=16000))
    assert len(pieces) > 4 and max(map(len, pieces)) <= 40000
    assert np.array_equal(np.concatenate(pieces), converter.convert(x, sample_rate=16000).samples)


def test_targets_are_taken_up_from_recordings(converter: Converter, folder: Path) -> None:
    converter = Converter(converter.model)
    assert converter.targets == []
    with pytest.raises(SpeechError, match="expected a target, this model brings none"):
        converter.convert(folder / "good.wav")
    path = str(folder / "good.wav")
    assert converter.take_up(path) == converter.take_up(Path(path)) == path
    converter.add_target("both", folder / "good.wav", folder / "other.wav")
    converter.add_target("audio", Audio(said(1.2), 16000))
    one, both = converter._voices[path], converter._voices["both"]
    assert torch.equal(one.speaker, converter._voices["audio"].speaker)
    converter.add_target("other", folder / "other.wav")
    other = converter._voices["other"]
    torch.testing.assert_close(both.speaker, mean_vector([one.speaker, other.speaker]))
    assert torch.equal(both.mel, torch.cat([one.mel, other.mel])) and len(one.mel) == 121
    assert converter.targets == [path, "both", "audio", "other"]
    converter.prefer("other")
    assert converter.targets[0] == "other"
    x = voice(0.3)
    first = converter.convert(x, sample_rate=16000).samples
    assert np.array_equal(first, converter.convert(x, "other", 16000).samples)
    assert np.abs(first - converter.convert(x, path, 16000).samples).max() > 1e-3
    converter.add_target("other", folder / "good.wav")
    assert np.array_equal(converter.convert(x, "other", 16000).samples, converter.convert(x, path, 16000).samples)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("short.wav", r"short\.wav cannot be a target: expected a recording of at least 1 s, got 0\.40 s"),
        ("silent.wav", r"silent\.wav.*every sample is zero"),
        ("faint.wav", r"faint\.wav cannot be a target: expected a recording of a voice, got silence"),
        ("music.wav", r"music\.wav cannot be a target: .*nobody seems to speak"),
        ("eight.wav", "expected one or two channels, got 8"),
        ("text.wav", "expected a sound file"),
        ("missing.wav", r"a target of the model \(anna, ben\) or a recording of one, got '\S+missing\.wav'"),
    ],
)
def test_references_that_are_no_good(converter: Converter, folder: Path, name: str, message: str) -> None:
    with pytest.raises(SpeechError, match=message):
        converter.take_up(folder / name)
    assert converter.targets == ["anna", "ben"]


def test_clipped_recordings_are_warned_of(folder: Path) -> None:
    converter = small_converter()
    with pytest.warns(UserWarning, match=r"clipped\.wav is clipped \(\d+\.\d % of its samples"):
        converter.add_target("loud", folder / "clipped.wav")
    with pytest.warns(UserWarning, match=r"clipped\.wav is clipped"):
        assert np.abs(converter.convert(folder / "clipped.wav", "loud").samples).max() <= 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        converter.convert(folder / "good.wav", "loud")


def test_recordings_without_a_voice_are_warned_of(folder: Path) -> None:
    converter = small_converter()
    with pytest.warns(UserWarning, match=r"in \S+mostly_music\.wav somebody speaks for 1\d% of what sounds only"):
        converter.add_target("rare", folder / "mostly_music.wav")
    with pytest.warns(UserWarning, match=r"nobody seems to speak in \S+music\.wav"):
        made = converter.convert(folder / "music.wav", "rare")
    assert len(made.samples) == 64000 and made.samples.any()


def test_sources_that_are_no_good(converter: Converter, folder: Path) -> None:
    for source, rate, message in (
        (folder / "silent.wav", None, "every sample is zero"),
        (folder / "instant.wav", None, "at least 25 ms of sound"),
        (folder / "missing.wav", None, "No such file"),
        (folder / "good.wav", 16000, "no sample rate beside a recording that has its own"),
        (np.zeros(16000, np.float32), 16000, "ms of speech, got silence"),
        (voice(0.01), 16000, "25 ms of speech, got 10 ms"),
        (voice(1.0), None, "expected a sample rate beside an array"),
        (voice(1.0)[:, None], 16000, "mono samples"),
    ):
        with pytest.raises(SpeechError, match=message):
            converter.convert(source, "anna", rate)
    for rates in ((11127, None), (16000, 11127), (0, None), (16000.5, None)):
        with pytest.raises(SpeechError, match="simple ratio to 16000 Hz"):
            converter.stream(rates[0], output_rate=rates[1])  # type: ignore[arg-type]
    with pytest.raises(SpeechError, match="expected the name of a target or a path, got ndarray: take it up"):
        converter.stream(16000, voice(1.0))  # type: ignore[arg-type]


def test_targets_are_kept(converter: Converter, tmp_path: Path) -> None:
    path = tmp_path / "ben.safetensors"
    converter.save_target("ben", path)
    again = Converter(converter.model)
    assert again.take_up(path) == "ben" and again.targets == ["ben"]
    x = voice(0.3)
    assert np.array_equal(again.convert(x, sample_rate=16000).samples, converter.convert(x, "ben", 16000).samples)
    with pytest.raises(SpeechError, match="expected to write the target"):
        again.save_target("ben", tmp_path / "none" / "ben.safetensors")
    with pytest.raises(SpeechError, match="expected a target of ben, got 'nobody'"):
        again.save_target("nobody", path)
    good = small_target()
    assert good.match is not None
    for bad in (
        replace(good, speaker=torch.randn(SPEAKER + 1)),
        replace(good, mel=torch.full((3, MEL), torch.nan)),
        replace(good, mel=torch.zeros(0, MEL)),
        replace(good, match=good.match._replace(gain=torch.ones(MEL + 1))),
        replace(good, match=good.match._replace(offset=torch.full((MEL,), torch.inf))),
    ):
        path.write_bytes(pack_targets({"other": bad}))
        with pytest.raises(SpeechError, match=r"target of this model .* 'other' is of another"):
            again.load_targets(path)
    path.write_bytes(pack_targets({"other": replace(good, match=None)}))
    with pytest.raises(SpeechError, match="expected a target with what this model matches, 'other' was saved without"):
        again.load_targets(path)
    path.write_bytes(pack_targets({}))
    with pytest.raises(SpeechError, match="it holds none"):
        again.take_up(path)
    path.write_bytes(b"these are no tensors")
    with pytest.raises(SpeechError, match="damaged"):
        again.load_targets(path)
    several = {name: TargetVoice(torch.randn(3), torch.randn(2, 4)) for name in ("zoe", "adam", "a.b")}
    path.write_bytes(pack_targets(several))
    assert list(read_targets(path)) == list(several)


def test_chunks_and_steps_are_chosen() -> None:
    model, x = small_model(second=True), voice(0.4)
    usual = small_converter(second=True)
    longer = Converter(model, usual._voices, chunk=160)
    assert 0.07 < longer.latency.total - usual.latency.total < 0.17
    same, more = Converter(model, usual._voices, steps=1), Converter(model, usual._voices, steps=3)
    made = [c.convert(x, sample_rate=16000).samples for c in (usual, same, more)]
    assert np.array_equal(made[0], made[1]) and np.abs(made[0] - made[2]).max() > 1e-3
    with longer.stream(16000) as stream:
        out = np.concatenate([*map(stream.push, np.array_split(x, 5)), stream.flush()])[stream.delay :]
    np.testing.assert_allclose(out, longer.convert(x, sample_rate=16000).samples, atol=1e-4)
    with pytest.raises(SpeechError, match="expected a chunk of a multiple of 40 ms, got 50 ms"):
        Converter(model, chunk=50)
    with pytest.raises(SpeechError, match="at least one step"):
        Converter(model, steps=0)


def test_names_and_recordings_of_a_wrong_type(converter: Converter) -> None:
    with pytest.raises(SpeechError, match=r"expected paths or Audio as recordings of the target, got \['a.wav'\]"):
        converter.add_target("cleo", ["a.wav"])  # type: ignore[arg-type]
    with pytest.raises(SpeechError, match=r"expected a target of anna, ben, got \['anna'\]"):
        converter.prefer(["anna"])  # type: ignore[arg-type]


def test_a_model_without_a_speaker_encoder(converter: Converter, folder: Path) -> None:
    deaf = small_converter()
    deaf._speaker = None
    with pytest.raises(SpeechError, match="has no speaker encoder: choose of anna, ben"):
        deaf.take_up(folder / "good.wav")
