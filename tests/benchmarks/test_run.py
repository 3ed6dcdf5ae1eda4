"""Every benchmark runs in a tiny configuration, and what it prints and records can be read again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import sentencepiece
import torch

from benchmarks import cli_help, run
from benchmarks.ledger import FIELDS, Context, record, rows
from benchmarks.measure import Result, Samples
from benchmarks.registry import BENCHMARKS
from benchmarks.run import main
from speech.errors import SpeechError
from speech.hub.checkpoint import save, tokenizer_named
from tests.asr.small import PIECES, small_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder with random weights."""
    folder = tmp_path_factory.mktemp("model")
    pieces = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat", "a red hat hid in the den", "ten men met at the tent"] * 5),
        model_writer=pieces,
        vocab_size=PIECES,
        model_type="bpe",
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(pieces.getvalue())
    return save(folder / "tiny", small_model(), "# tiny\n", tokenizer_named(folder / "tokenizer.model"))


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    """The JSON lines that were printed."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_without_a_name_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(BENCHMARKS)
    assert main(["--json"]) == 0
    assert [line["name"] for line in lines(capsys)] == list(BENCHMARKS)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(SpeechError, match=r"asr-step, transcribe, .*cli-help, got 'asr'"):
        main(["asr"])


def test_help_starts_both_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cli-help", "--smoke", "--json"]) == 0
    found = {(row["case"], row["metric"]): row["value"] for row in lines(capsys)}
    assert found["speech --help", "min"] > found["python -c pass", "min"] > 0


def test_a_step_without_nemo(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["asr-step", "--smoke", "--json"]) == 0
    found = {(row["case"], row["metric"]): row["value"] for row in lines(capsys)}
    assert found["80 ms, batch 2: speech", "median"] >= found["80 ms, batch 2: speech", "min"] > 0
    assert 0.1 < found["80 ms, batch 2: speech, samples to tokens", "tokens"] < 0.6


def test_a_recording(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    assert main(["transcribe", "--smoke", "--json", "--model", str(tiny), "--look-ahead", "160"]) == 0
    torch.set_num_threads(before)
    found = {(row["case"], row["metric"]): row["value"] for row in lines(capsys)}
    assert found["160 ms, live", "cpu min"] > 0 and found["160 ms, whole file", "cpu min"] > 0
    assert found["160 ms, live", "words"] > 0
    assert 0.5 < found["after 0.1 min", "memory"] / found["after 0.05 min", "memory"] < 1.5


def test_a_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cli-help", "--smoke"]) == 0
    assert "speech --help" in capsys.readouterr().out


def test_what_was_measured_before_a_benchmark_broke_off_is_not_lost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def measured(_: object) -> Iterator[Result]:
        for value in (1.0, 2.0):
            yield Result("case", "turn", value, "ms")
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_help, "run", measured)
    monkeypatch.setattr(run, "record", partial(record, path=tmp_path / "ledger.csv"))
    with pytest.raises(KeyboardInterrupt):
        main(["cli-help", "--json", "--record"])
    assert [row["value"] for row in lines(capsys)] == [1.0, 2.0]
    assert len((tmp_path / "ledger.csv").read_text().splitlines()) == 3


def test_a_machine_without_git_has_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert Context.here().commit == ""


def test_the_ledger_grows(tmp_path: Path) -> None:
    path, here = tmp_path / "ledger.csv", Context.here()
    for value in (1.0, 2 / 3):
        record(rows("some", [Result("a, b", "min", value, "ms", 5, 2)], here), path)
    with path.open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["value"] for row in read] == ["1.0", "0.66667"]
    assert tuple(read[0]) == FIELDS and read[0]["case"] == "a, b" and read[0]["threads"] == "2"


def test_ratios_are_against_the_base() -> None:
    fast, slow = Samples([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]), Samples([4.0, 6.0, 8.0], [4.0, 4.0, 4.0])
    assert [r.value for r in slow.ratios(fast, "x")] == [3.0, 4.0]
    assert [r.value for r in fast.results("x")] == [2000.0, 1000.0, 1000.0]
