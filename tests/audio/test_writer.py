"""Files that grow: every format reads back, errors are told, what was written is kept."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from speech.audio.file import read
from speech.audio.writer import FORMATS, Writer
from speech.errors import SpeechError


def _tone(seconds: float, rate: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("rate", [16000, 24000])
def test_every_format_reads_back(tmp_path: Path, ending: str, rate: int) -> None:
    x = _tone(3.0, rate)
    with Writer(tmp_path / f"x{ending.upper()}", rate) as writer:
        for start in range(0, len(x), 1234):
            writer.write(x[start : start + 1234])
        assert writer.seconds == pytest.approx(3.0)
    y = read(tmp_path / f"x{ending.upper()}", rate).samples
    assert abs(len(y) - len(x)) < 0.1 * rate
    middle = slice(rate, 2 * rate)
    spectrum = np.abs(np.fft.rfft(y[middle]))
    assert spectrum.argmax() == 220 and np.abs(y[middle]).max() == pytest.approx(0.5, abs=0.05)


def test_a_long_write_and_loud_samples(tmp_path: Path) -> None:
    with Writer(tmp_path / "x.ogg", 16000) as writer:
        writer.write(3 * _tone(100.0, 16000))
    assert read(tmp_path / "x.ogg").seconds == pytest.approx(100.0, abs=0.1)


def test_what_was_written_is_kept(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "x.wav", 16000)
    with writer:
        writer.write(_tone(1.0, 16000))
        with pytest.raises(SpeechError):
            writer.write(np.full(10, np.inf))
    assert read(tmp_path / "x.wav").seconds == 1.0


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Within, writing beyond so many bytes of a file fails, as it does on a full disk."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_full_disk_is_one_sentence_and_keeps_what_was_written(
    tmp_path: Path, ending: str, capfd: pytest.CaptureFixture
) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 12000).astype(np.float32)

    def fill() -> None:
        with files_of_at_most(30_000), Writer(tmp_path / f"a{ending}", 48000) as writer:
            for _ in range(200):
                writer.write(noise)

    with pytest.raises(SpeechError, match=rf"write '.*a{ending}', but it failed after .* s \(File too large\)"):
        fill()
    assert "Traceback" not in capfd.readouterr().err
    assert 25_000 < (tmp_path / f"a{ending}").stat().st_size <= 30_000


def test_errors_are_told(tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match=r"ends in \.wav, .*got '.*x.aac'"):
        Writer(tmp_path / "x.aac", 16000)
    with pytest.raises(SpeechError, match="No such file or directory: choose another place"):
        Writer(tmp_path / "none" / "x.wav", 16000)
    with pytest.raises(SpeechError, match="11111 Hz"):
        Writer(tmp_path / "x.opus", 11111)
    assert not (tmp_path / "x.opus").exists()
    with Writer(tmp_path / "x.wav", 16000) as writer, pytest.raises(SpeechError, match="NaN"):
        writer.write(np.array([0.0, np.nan]))
