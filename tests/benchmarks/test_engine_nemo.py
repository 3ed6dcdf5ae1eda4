"""NeMo beside the engine on a card: what is asked of it, what is made of its answers, and doing without it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.asr_step.venv import FOLDER, NEMO, PACKAGES, add_nemo_option
from benchmarks.engine.nemo import beside, encoder_steps
from benchmarks.measure import Result
from benchmarks.run import main
from benchmarks.worker import Worker
from speech.errors import SpeechError


class Answering:
    """A worker that notes its calls. Steps of b rows take b milliseconds, the first two a second; 64 are too many."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.batch = 0

    def call(self, do: str, **arguments: Any) -> Any:
        self.calls.append((do, arguments))
        self.batch = arguments.get("batch", self.batch)
        if self.batch == 64:
            raise RuntimeError("the worker failed at 'join': OutOfMemoryError:\nno room")
        return {"wall": [1.0, 1.0, *[1e-3 * self.batch] * (arguments["steps"] - 2)]} if do == "time" else None


def _steps(worker: Any, name: str = "114m", device: str = "cuda") -> Iterator[Result]:
    return encoder_steps(worker, name, 80, torch.device(device), (1, 16, 64, 256), warm=2, repeats=5)


def test_answers_become_rows_until_the_worker_fails(capsys: pytest.CaptureFixture[str]) -> None:
    worker = Answering()
    found = {(result.case, result.metric): result for result in _steps(worker)}
    assert {case for case, _ in found} == {f"114m encoder, {rows} rows: NeMo {NEMO}" for rows in (1, 16)}
    taken = found[f"114m encoder, 16 rows: NeMo {NEMO}", "step"]
    assert (taken.value, taken.unit, taken.repeats) == (pytest.approx(16.0), "ms", 5)
    assert found[f"114m encoder, 1 rows: NeMo {NEMO}", "predicted"].value > 1
    assert capsys.readouterr().err.splitlines() == [
        "NeMo is left out: the worker failed at 'join': OutOfMemoryError: no room"
    ]


@pytest.mark.parametrize(
    ("name", "device", "dim", "bias", "dtype"),
    [
        ("114m", "cuda", 512, True, "bfloat16"),
        ("600m", "cuda", 1024, False, "bfloat16"),
        ("tiny", "cpu", 16, True, "float32"),
    ],
)
def test_the_same_shape_and_precision_are_asked_for(name: str, device: str, dim: int, bias: bool, dtype: str) -> None:
    worker = Answering()
    results = [*_steps(worker, name, device)]
    (begin, shape), (join, place), (then, _), *_ = worker.calls
    assert (begin, join, then) == ("load_encoder", "join", "time")
    assert (shape["config"]["dim"], shape["config"]["bias"], shape["dtype"]) == (dim, bias, dtype)
    assert shape["device"] == device and place == {"batch": 1, "ahead": 1}
    assert any(result.metric == "predicted" for result in results) == (name != "tiny")


def _environment(folder: Path, program: str | None = None) -> Path:
    """One that was installed, with this Python, which has no NeMo; or where this program stands in for Python."""
    python = folder / "bin" / "python"
    python.parent.mkdir()
    if program is None:
        python.symlink_to(sys.executable)
        (folder / "ready").write_text("\n".join(" ".join(packages) for packages in PACKAGES))
    else:
        python.write_text(program)
        python.chmod(0o755)
    return folder


def test_what_cannot_be_installed_is_said_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with beside(_environment(tmp_path, "#!/bin/sh\necho there is >&2; echo no network >&2; exit 1\n")) as worker:
        assert worker is None
    said = capsys.readouterr().err.splitlines()[1:]  # that it is being installed comes first
    assert len(said) == 1 and said[0].startswith("NeMo is left out: ") and said[0].endswith("there is no network")


def test_an_environment_without_nemo_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with beside(_environment(tmp_path)) as worker:
        assert isinstance(worker, Worker)
        time.sleep(0.5)  # it may have ended before it is called, or not
        assert [*_steps(worker, "tiny", "cpu")] == []
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("NeMo is left out: ") and "No module named" in said[0]


def test_without_a_folder_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with beside(None) as worker:
        assert worker is None
    assert capsys.readouterr().err == ""


def test_the_option() -> None:
    parser = argparse.ArgumentParser()
    add_nemo_option(parser)
    words: list[list[str]] = [[], ["--with-nemo"], ["--with-nemo", "here"]]
    assert [parser.parse_args(said).with_nemo for said in words] == [None, FOLDER, Path("here")]
    with pytest.raises(SpeechError, match="expected --with-nemo beside --card"):
        main(["engine", "--with-nemo"])
