"""The benchmark of the synthesiser: what it measures of an untrained model, and of one in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.run import main
from benchmarks.tts.stages import break_even
from benchmarks.tts.untrained import SIZES, untrained
from speech.errors import SpeechError
from speech.hub.checkpoint import save
from speech.tts.model import SynthesiserConfig
from speech.tts.voice import pack_voices
from tests.tts.small import small_synthesiser


def measured(capsys: pytest.CaptureFixture[str], *options: str) -> dict[tuple[str, str], float]:
    """Values by case and metric."""
    before = torch.get_num_threads()
    assert main(["tts", "--json", *options]) == 0
    torch.set_num_threads(before)
    rows = map(json.loads, capsys.readouterr().out.splitlines())
    return {(row["case"], row["metric"]): row["value"] for row in rows}


def test_an_untrained_model_is_measured_through_and_through(capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, "--smoke")
    cases = {case.removeprefix("tiny: ") for case, _ in found}
    assert cases == {
        *("text, a sentence", "language model, a code", "1 s spoken", "2 s spoken", "first sound"),
        *("language model, 2 drafts", "language model, 4 drafts"),
        *("after 0.05 min", "after 0.1 min"),
    }
    assert all(value > 0 for value in found.values())
    assert {metric for case, metric in found if case == "tiny: 2 s spoken"} == {
        *("flow", "flow cpu", "vocoder", "vocoder cpu"),
    }
    assert found["tiny: after 0.1 min", "memory"] < 1.2 * found["tiny: after 0.05 min", "memory"]


def test_where_drafts_pay() -> None:
    assert break_even(1.75, 2) == pytest.approx(0.5)
    assert break_even(5.0, 4) == pytest.approx(1.0)
    assert break_even(4.0, 2) > 1 and break_even(0.9, 2) == pytest.approx(0.0, abs=1e-6)


def test_a_model_in_a_folder_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = small_synthesiser()
    voices = {name: small._voices[name] for name in small.voices}
    files = {"voices.safetensors": pack_voices(voices)}
    folder = save(tmp_path / "small", small.model, "# small\n", files, dtype=None)
    options = "--seconds 0.4 --repeats 1 --only chunks memory --minutes 0.05 0.02".split()
    found = measured(capsys, "--model", str(folder), *options)
    assert [case for case, _ in found if "after" in case][::2] == [f"{folder}: after {m} min" for m in (0.02, 0.05)]
    assert found[f"{folder}: 0.4 s spoken", "flow"] > 0 and found[f"{folder}: after 0.05 min", "cpu"] > 0
    with pytest.raises(SpeechError, match="expected a device"):
        main(["tts", "--smoke", "--device", "teapot"])
    with pytest.raises(SpeechError, match="expected a model name"):
        main(["tts", "--model", "no-such-model"])


def test_the_full_sizes_are_those_of_the_public_model() -> None:
    assert SIZES["cosyvoice2"] == SynthesiserConfig()


def test_the_untrained_model_says_15_codes_for_every_5_bytes() -> None:
    synthesiser = untrained("tiny")
    with synthesiser.stream("Twenty letters or so are here, and more.", seed=0) as stream:
        seconds = sum(part.seconds for part in stream)
    codes = stream.stages.codes
    assert codes % 15 == 0 and codes >= 90
    assert seconds == pytest.approx(codes * synthesiser.latency.code_seconds)
