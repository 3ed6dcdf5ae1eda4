"""Reading what libsndfile reads, raw samples and pipes; and one clear sentence for all that cannot be read."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech.audio.file import Pcm, Reader, blocks, read
from speech.audio.resample import resample
from speech.errors import SpeechError

RATE = 16000
TONE = (0.4 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)).astype(np.float32)
ROOT = Path(__file__).resolve().parents[2]


def wav(rate: int = RATE, channels: int = 1, data: bytes = b"", size: int | None = None) -> bytes:
    """A 16-bit WAV file; size: the length that its header states, if not the true one."""
    size = len(data) if size is None else size
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * channels * 2, channels * 2, 16)
    whole = struct.pack("<I", min(36 + size, 0xFFFFFFFF))
    return b"RIFF" + whole + b"WAVEfmt " + form + b"data" + struct.pack("<I", size) + data


def pcm16(x: np.ndarray) -> bytes:
    return (x * 32767).astype("<i2").tobytes()


def piped(data: bytes, call: str) -> str:
    """What `print(call)` says in another process whose standard input is a pipe that brings `data`."""
    answer = f"try: print({call})\nexcept ValueError as error: print(type(error).__name__, error)"
    code = f"import numpy as np\nfrom speech.audio.file import *\n{answer}"
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, cwd=ROOT, timeout=60)
    return done.stdout.decode() + done.stderr.decode()


# what is read


@pytest.mark.parametrize(
    ("suffix", "options", "tolerance"),
    [
        ("wav", {}, 1e-4),
        ("wav", {"subtype": "FLOAT"}, 0),
        ("wav", {"subtype": "DOUBLE"}, 1e-7),
        ("wav", {"subtype": "PCM_24"}, 1e-6),
        ("wav", {"subtype": "PCM_U8"}, 1e-2),
        ("flac", {}, 1e-4),
        ("aiff", {}, 1e-4),
        ("ogg", {}, 0.05),
        ("opus", {"format": "OGG", "subtype": "OPUS"}, 0.05),
        ("mp3", {}, 0.05),
    ],
)
def test_formats(tmp_path: Path, suffix: str, options: dict, tolerance: float) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, TONE, RATE, **options)
    audio = read(path)
    assert audio.sample_rate == RATE
    assert audio.samples.dtype == np.float32
    assert audio.seconds == pytest.approx(1.0, abs=0.1)
    np.testing.assert_allclose(audio.samples[2000:14000], TONE[2000:14000], atol=tolerance)


def test_two_channels_are_averaged_and_of_more_one_is_chosen(tmp_path: Path) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (500, 8)).astype(np.float32)
    for channels in (2, 8):
        soundfile.write(tmp_path / f"{channels}.wav", x[:, :channels], RATE, subtype="FLOAT")
    np.testing.assert_allclose(read(tmp_path / "2.wav").samples, x[:, :2].mean(1), atol=1e-6)
    np.testing.assert_allclose(read(tmp_path / "8.wav", channel="mix").samples, x.mean(1), atol=1e-6)
    np.testing.assert_array_equal(read(tmp_path / "8.wav", channel=8).samples, x[:, 7])
    np.testing.assert_array_equal(read(tmp_path / "2.wav", channel=1).samples, x[:, 0])
    for path, channel, message in (
        ("8.wav", None, r"got 8 in '.*8\.wav': choose one with --channel 1 to 8, or their mean with --channel mix"),
        ("8.wav", 9, "expected a channel of 1 to 8 or mix, got 9"),
        ("2.wav", 0, "expected a channel of 1 to 2 or mix, got 0"),
        ("2.wav", "left", "got 'left'"),
    ):
        with pytest.raises(SpeechError, match=message):
            read(tmp_path / path, channel=channel)  # type: ignore[arg-type]


def test_any_rate_and_any_block_size_give_the_same_samples(tmp_path: Path) -> None:
    x = np.random.default_rng(1).uniform(-1, 1, 44100).astype(np.float32)
    soundfile.write(tmp_path / "x.wav", x, 44100, subtype="FLOAT")
    expected = resample(x, 44100, RATE)
    np.testing.assert_array_equal(read(tmp_path / "x.wav", RATE).samples, expected)
    for seconds in (0.013, 0.25, 60.0):
        np.testing.assert_array_equal(np.concatenate(list(blocks(tmp_path / "x.wav", RATE, seconds))), expected)


def test_one_sample_and_silence_are_sound_but_nothing_to_hear(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.wav", np.array([0.5]), RATE)
    assert read(tmp_path / "one.wav").samples == pytest.approx([0.5], abs=1e-4)
    assert len(read(tmp_path / "one.wav", 8000).samples) <= 1
    with pytest.raises(SpeechError, match=r"at least 25 ms of sound, got 0\.062 ms in '.*one\.wav'"):
        list(blocks(tmp_path / "one.wav", RATE))
    soundfile.write(tmp_path / "short.wav", TONE[:399], RATE)
    with pytest.raises(SpeechError, match="got 25 ms"):
        list(blocks(tmp_path / "short.wav", RATE))
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    assert not read(tmp_path / "silent.wav").samples.any()
    with pytest.raises(SpeechError, match=r"'.*silent\.wav', in which every sample is zero"):
        list(blocks(tmp_path / "silent.wav", RATE, 0.1))
    soft = np.zeros(RATE)
    soft[-1] = 1 / 32768
    soundfile.write(tmp_path / "soft.wav", soft, RATE)
    assert sum(map(len, blocks(tmp_path / "soft.wav", RATE, 0.1))) == RATE


def test_length_is_known_before_reading(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", TONE, RATE)
    with Reader(tmp_path / "x.wav") as reader:
        assert reader.seconds == 1.0
        assert [len(block) for block in reader.blocks(0.3)] == [4800, 4800, 4800, 1600]


def test_long_files_take_constant_memory(tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "long.flac", "w", 48000, 2) as file:
        for _ in range(10):
            file.write(np.full((48000 * 30, 2), 0.1, np.float32))
    list(blocks(tmp_path / "long.flac", RATE))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(map(len, blocks(tmp_path / "long.flac", RATE))) == 300 * RATE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # KiB; the whole is 58 MB a channel


# standard input


def test_raw_samples(tmp_path: Path) -> None:
    count = "np.abs(a := read('-', pcm=Pcm({})).samples).max().round(2), len(a)"
    assert piped(pcm16(TONE), count.format("16000")) == "0.4 16000\n"
    assert piped(TONE.tobytes(), count.format("16000, 'f32le'")) == "0.4 16000\n"
    assert piped(pcm16(TONE) + b"\1", count.format("16000, channels=2")) == "0.4 8000\n"  # and half a sample
    assert "standard input, which holds no samples" in piped(b"", "read('-', pcm=Pcm(16000))")
    (tmp_path / "x.pcm").write_bytes(pcm16(TONE))
    assert len(read(tmp_path / "x.pcm", pcm=Pcm(RATE)).samples) == RATE


@pytest.mark.parametrize("size", [None, 0xFFFFFFFF, 0x7FFFFFFF, 10 * RATE])
def test_wav_through_a_pipe(size: int | None) -> None:
    data = wav(data=pcm16(TONE), size=size)
    assert piped(data, "sum(map(len, blocks('-', 16000, 0.1)))") == "16000\n"


@pytest.mark.parametrize("suffix", ["flac", "mp3"])
def test_what_is_not_decoded_in_one_direction_comes_through_a_pipe_too(tmp_path: Path, suffix: str) -> None:
    soundfile.write(tmp_path / f"x.{suffix}", TONE, RATE)
    heard = float(np.abs(read(tmp_path / f"x.{suffix}").samples).sum())
    said = piped((tmp_path / f"x.{suffix}").read_bytes(), "float(np.abs(read('-').samples).sum())")
    assert float(said) == pytest.approx(heard, rel=1e-5)


def test_a_named_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.flac", TONE, RATE)
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cp", tmp_path / "x.flac", tmp_path / "pipe"]) as copying:
        np.testing.assert_array_equal(read(tmp_path / "pipe").samples, read(tmp_path / "x.flac").samples)
        assert copying.wait(timeout=20) == 0


@pytest.mark.parametrize("whole", [36, 0])
def test_a_wav_that_was_never_completed_is_read(tmp_path: Path, whole: int) -> None:
    data = wav(data=pcm16(TONE), size=0)
    data = data[:4] + struct.pack("<I", whole) + data[8:]
    np.testing.assert_allclose(read(save(tmp_path / "x.wav", data)).samples, TONE, atol=1e-4)
    assert piped(data, "sum(map(len, blocks('-', 16000, 0.1)))") == "16000\n"


@pytest.mark.parametrize("size", [0x7FFFF000, 0xFFFFFFFF])
def test_the_length_that_a_pipe_was_given_is_none(tmp_path: Path, size: int) -> None:
    assert read(save(tmp_path / "x.wav", wav(data=pcm16(TONE), size=size))).seconds == 1.0


def test_what_cannot_come_through_a_pipe_is_said() -> None:
    for data in (b"no sound at all", b"RIFF", b""):
        said = piped(data, "read('-')")
        assert said.startswith("SpeechError expected a sound file")
        assert "pass the file by its name" in said
        assert said.count("\n") == 1


# bad files: one sentence, what came and what to do


def save(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


BAD = {
    "missing": (lambda d: d / "none.wav", "none.wav': No such file"),
    "folder": (lambda d: d, "the folder"),
    "empty": (lambda d: save(d / "x.wav", b""), r"empty \(0 bytes\)"),
    "no samples": (lambda d: save(d / "x.wav", wav()), "holds no samples"),
    "text": (lambda d: save(d / "x.wav", b"Dear diary, today I recorded nothing.\n" * 9), "cannot be decoded"),
    "half a header": (lambda d: save(d / "x.wav", wav(data=pcm16(TONE))[:22]), "cannot be decoded"),
    "0 Hz": (lambda d: save(d / "x.wav", wav(rate=0, data=pcm16(TONE))), "no usable sample rate"),
    "0 channels": (lambda d: save(d / "x.wav", wav(channels=0, data=pcm16(TONE))), "[Cc]hannel"),
    "headerless": (lambda d: save(d / "x.raw", pcm16(TONE)), "how raw samples are to be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(tmp_path: Path, name: str) -> None:
    make, message = BAD[name]
    path = make(tmp_path)
    with pytest.raises(SpeechError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(SpeechError, match=message):
        list(blocks(path, RATE))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = save(tmp_path / "x.wav", wav(data=pcm16(TONE)))
    path.chmod(0)
    with pytest.raises(SpeechError, match="Permission denied"):
        read(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    x = TONE.copy()
    x[8000:] = value
    soundfile.write(tmp_path / "x.wav", x, RATE, subtype="FLOAT")
    got = []
    with pytest.raises(SpeechError, match=r"NaN or infinity in '.*x\.wav' at 0\.500 s"):
        got.extend(blocks(tmp_path / "x.wav", RATE, 0.2))
    assert len(np.concatenate(got)) == 6400  # what came before is not lost


@pytest.mark.parametrize("value", [32000.0, 1e30])
def test_samples_that_were_not_scaled(tmp_path: Path, value: float) -> None:
    x = TONE.copy()
    x[8000:] = value
    soundfile.write(tmp_path / "x.wav", x, RATE, subtype="FLOAT")
    with pytest.raises(SpeechError, match=r"expected samples in \[-1, 1\], got .* in '.*x\.wav' at 0\.500 s"):
        read(tmp_path / "x.wav")


@pytest.mark.parametrize("rate", [RATE, RATE // 2])
def test_a_wav_that_was_cut_short_says_so_after_what_is_there(tmp_path: Path, rate: int) -> None:
    data = wav(data=pcm16(TONE))
    path, got = save(tmp_path / "x.wav", data[: 44 + RATE + 1]), []
    with pytest.raises(SpeechError, match=r"expected 1\.00 s .* ends after 0\.50 s: it was cut short"):
        got.extend(blocks(path, rate, 0.1))
    assert len(np.concatenate(got)) == rate // 2
    if rate == RATE:
        np.testing.assert_allclose(np.concatenate(got), TONE[: RATE // 2], atol=1e-4)


@pytest.mark.parametrize("kind", ["AIFF", "AU"])
def test_other_headers_tell_of_a_cut_too(tmp_path: Path, kind: str) -> None:
    soundfile.write(tmp_path / "whole", TONE, RATE, format=kind, subtype="PCM_16")
    whole = (tmp_path / "whole").read_bytes()
    with pytest.raises(SpeechError, match="cut short"):
        read(save(tmp_path / "x", whole[: len(whole) // 2]))


def test_an_mp3_that_was_cut_short_says_so_after_what_is_there(tmp_path: Path) -> None:
    sound = np.tile(TONE, 4) + np.random.default_rng(0).normal(0, 0.1, 4 * RATE).astype(np.float32)
    soundfile.write(tmp_path / "whole.mp3", sound, RATE)
    assert read(tmp_path / "whole.mp3").seconds == pytest.approx(4, abs=0.1)
    whole = (tmp_path / "whole.mp3").read_bytes()
    path, got = save(tmp_path / "x.mp3", whole[: len(whole) // 2]), []
    with pytest.raises(SpeechError, match=r"expected 4\.\d\d s .* ends after 1\.\d\d s: it was cut short"):
        got.extend(blocks(path, RATE, 0.1))
    assert len(np.concatenate(got)) > 1.5 * RATE


def test_an_ogg_that_was_cut_short_says_so_after_what_is_there(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * RATE)
    soundfile.write(tmp_path / "whole.ogg", noise, RATE)
    whole, got = (tmp_path / "whole.ogg").read_bytes(), []
    assert read(tmp_path / "whole.ogg").seconds == pytest.approx(4, abs=0.1)
    for size in (len(whole) * 2 // 3, len(whole) - 1):
        with pytest.raises(SpeechError, match=r"stops within a page after \d\.\d\d s: it was cut short"):
            got.extend(blocks(save(tmp_path / "x.ogg", whole[:size]), RATE, 0.1))
        assert len(np.concatenate(got)) > RATE


def test_of_an_mp3_without_a_header_no_length_is_expected(tmp_path: Path) -> None:
    loud, quiet = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32), np.zeros(RATE, np.float32)
    soundfile.write(tmp_path / "whole.mp3", np.concatenate([loud, quiet, loud]), RATE)
    whole = (tmp_path / "whole.mp3").read_bytes()
    bare = whole[whole.index(b"\xff\xf3\x18") :]  # from a frame of 8 kbit/s on
    with Reader(save(tmp_path / "bare.mp3", bare)) as reader:
        assert reader.seconds and reader.seconds > sum(map(len, reader.blocks())) / RATE + 1  # by libsndfile's guess


def test_a_flac_that_was_cut_short_says_where(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 5 * RATE)
    soundfile.write(tmp_path / "whole.flac", noise, RATE)
    whole = (tmp_path / "whole.flac").read_bytes()
    path, got = save(tmp_path / "x.flac", whole[: len(whole) // 2]), []
    with pytest.raises(SpeechError, match=r"beyond 2\.\d\d s: it was cut short"):
        got.extend(blocks(path, RATE, 0.1))
    assert len(np.concatenate(got)) > 2 * RATE


@pytest.mark.parametrize(
    "options", [{"sample_rate": 0}, {"sample_rate": RATE, "channels": 0}, {"sample_rate": RATE, "encoding": "u8"}]
)
def test_raw_samples_that_cannot_be(options: dict) -> None:
    with pytest.raises(SpeechError):
        Pcm(**options)
