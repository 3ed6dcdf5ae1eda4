"""Which recordings a batch holds, where their outputs go, and what counts as done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from speech.cli.batch import STANDARD_INPUT, Job, Tally, named, plan, write_whole
from speech.errors import SpeechError

SUFFIXES = {"text": ".txt", "srt": ".srt"}


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_folders_are_searched_and_their_tree_is_kept(tmp_path: Path) -> None:
    audio, out = tmp_path / "audio", tmp_path / "out"
    touch(audio / "b.FLAC", audio / "deep/er/a.v2.wav", audio / "notes.txt")
    jobs = plan([audio], out, SUFFIXES)
    assert [job.source for job in jobs] == [audio / "b.FLAC", audio / "deep/er/a.v2.wav"]
    assert jobs[1].outputs == {"text": out / "deep/er/a.v2.txt", "srt": out / "deep/er/a.v2.srt"}


def test_a_named_file_is_taken_as_it_is_and_once(tmp_path: Path) -> None:
    touch(tmp_path / "call.raw")
    jobs = plan([tmp_path / "call.raw", STANDARD_INPUT, tmp_path / "call.raw"], None, SUFFIXES)
    assert jobs == [Job(tmp_path / "call.raw"), Job(STANDARD_INPUT)]


def test_namesakes_have_outputs_of_their_own(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("a.wav", "a.mp3", "b.wav", "deep/a.wav")))
    jobs = plan([tmp_path], tmp_path / "out", {"text": ".txt"})
    written = {str(job.outputs["text"].relative_to(tmp_path / "out")) for job in jobs}
    assert written == {"a.wav.txt", "a.mp3.txt", "b.txt", "deep/a.txt"}
    assert plan([tmp_path, tmp_path / "a.wav"], tmp_path / "out", {"text": ".txt"}) == jobs


def test_shared_outputs_and_empty_folders_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "one" / "a.wav", tmp_path / "two" / "a.wav")
    with pytest.raises(SpeechError, match=r"names of their own"):
        plan([tmp_path / "one", tmp_path / "two"], tmp_path / "out", SUFFIXES)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpeechError, match="found none"):
        plan([tmp_path / "empty"], None, SUFFIXES)


def test_an_empty_name_is_not_the_current_folder() -> None:
    assert named(["a.wav", "-"]) == [Path("a.wav"), STANDARD_INPUT]
    with pytest.raises(SpeechError, match="got an empty one"):
        named(["a.wav", ""])


def test_failures_name_their_job_once() -> None:
    tally = Tally(verb="heard")
    tally.fail("-", SpeechError("expected sound, got standard input, which holds none"))
    tally.fail("a.wav", SpeechError("expected sound, got 'a.wav'"))
    tally.fail("b.wav", SpeechError("expected a rate"))
    assert [failure.partition(" ")[0] for failure in tally.failed] == ["expected", "expected", "b.wav:"]


def test_done_means_every_output_is_there_and_newer(tmp_path: Path) -> None:
    source = tmp_path / "a.wav"
    touch(source)
    (job,) = plan([source], tmp_path / "out", SUFFIXES)
    write_whole(job.outputs["text"], "a\n")
    assert not job.done
    write_whole(job.outputs["srt"], "")
    assert job.done
    os.utime(source, (source.stat().st_atime, source.stat().st_mtime + 60))
    assert not job.done
    assert not Job(source).done


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "first\n")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "second \ud800\n")
    assert path.read_text() == "first\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]
    touch(tmp_path / "file")
    with pytest.raises(SpeechError, match="choose another folder"):
        write_whole(tmp_path / "file" / "a.txt", "x")
