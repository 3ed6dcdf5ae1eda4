"""`speech align`: a table, captions, JSON, and wrong usage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import speech
from speech.asr.formats import write
from speech.cli.main import app
from tests.cli.conftest import Run

TEXT = "The cat sat,\nand the red hat ran."


def invoke(*args: object) -> Result:
    """Run the verb in this process."""
    return CliRunner().invoke(app, ["align", *map(str, args)])


@pytest.fixture
def known(recording: Path, recogniser: speech.Recogniser) -> speech.Transcript:
    """What the tiny model makes of the recording."""
    return recogniser.align(recording, TEXT)


def test_a_table_of_words(tiny: Path, recording: Path, known: speech.Transcript) -> None:
    done = invoke(recording, "--text", TEXT, "--model", tiny)
    assert done.exit_code == 0, done.stderr
    head, *rows = [line.split() for line in done.stdout.splitlines()]
    assert head == ["start", "end", "confidence", "word"]
    assert rows == [[f"{w.start:.2f}", f"{w.end:.2f}", f"{w.confidence:.2f}", w.text] for w in known.words]
    assert [row[-1] for row in rows] == TEXT.split()


@pytest.mark.parametrize("form", ["json", "srt", "vtt", "text"])
def test_the_formats_of_transcripts(
    tiny: Path, recording: Path, known: speech.Transcript, form: str, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8-sig")
    done = invoke(recording, "--text-file", tmp_path / "text.txt", "-f", form, "--model", tiny)
    assert done.stdout == write(known, form)


def test_json_lines_and_standard_input(cli: Run, tiny: Path, recording: Path, known: speech.Transcript) -> None:
    done = cli("align", "-", "--text", TEXT, "--json", "--model", tiny, stdin=recording.read_bytes())
    [line] = done.stdout.splitlines()
    assert json.loads(line) == json.loads(json.dumps({"file": "-", **known.to_dict()}))


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        ([], 2, "either --text TEXT or --text-file FILE"),
        (["--text", "the cat", "--text-file", "a.txt"], 2, "either --text TEXT or --text-file FILE"),
        (["--text", "the cat", "-f", "srt", "--json"], 2, "either a format or --json"),
        (["--text-file", "missing.txt"], 1, "expected a text file, but 'missing.txt': No such file"),
        (["--text", "42"], 1, "expected text that the model can spell"),
        (["--text", "the cat sat " * 99], 1, "expected a text that can be said in 1.5 s, got 297 words"),
    ],
)
def test_wrong_usage_is_one_sentence(
    tiny: Path, recording: Path, args: list[str], code: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    done = invoke(recording, *args, "--model", tiny)
    assert (done.exit_code, done.stdout) == (code, "")
    assert sentence in done.stderr


def test_a_text_file_of_other_bytes(tiny: Path, recording: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(b"the c\xe2t")
    done = invoke(recording, "--text-file", tmp_path / "text.txt", "--model", tiny)
    assert done.exit_code == 1 and "got other bytes at 5: convert it" in done.stderr
