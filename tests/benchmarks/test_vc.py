"""The benchmark of the converter: what it measures of an untrained model, and of one in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.measure import Samples
from benchmarks.run import main
from benchmarks.vc.stages import clocked
from benchmarks.vc.untrained import ORIGINAL, SETTINGS, SIZES, untrained
from speech.errors import SpeechError
from speech.hub.checkpoint import save
from speech.vc.converter import Converter
from speech.vc.model import ConverterModelConfig
from speech.vc.network import ConverterConfig
from speech.vc.session import ConversionStream, Setup
from tests.vc.small import small_model, voice

STAGES = {"resampling in", "content", "network", "vocoder", "resampling out"}
PARTS = {"network, interpolate", "network, timbre", "network, solver"}


def measured(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, dict[tuple[str, str], float]]:
    """Values by case, and there by metric and unit."""
    before = torch.get_num_threads()
    assert main(["vc", "--json", *options]) == 0
    torch.set_num_threads(before)
    found: dict[str, dict[tuple[str, str], float]] = {}
    for row in map(json.loads, capsys.readouterr().out.splitlines()):
        found.setdefault(row["case"], {})[row["metric"], row["unit"]] = row["value"]
    return found


def test_an_untrained_model_is_measured_through_and_through(capsys: pytest.CaptureFixture[str]) -> None:
    found = {case.removeprefix("tiny 200 ms 1 step: "): values for case, values in measured(capsys, "--smoke").items()}
    assert set(found) == STAGES | PARTS | {"total", "after 0.5 s", "after 1 s"}
    assert all(value > 0 for values in found.values() for value in values.values())
    cpu = {case: values["cpu", "ms"] for case, values in found.items()}
    assert sum(cpu[part] for part in PARTS) < 1.2 * cpu["network"]
    assert sum(cpu[stage] for stage in STAGES) < 1.2 * cpu["total"]
    total = found["total"]
    assert total["real-time factor", "cpu"] == pytest.approx(total["cpu", "ms"] / 200, rel=1e-3)
    assert total["delay", "ms"] == pytest.approx(1e3 * Converter(untrained("tiny")).latency.total, rel=1e-4)
    assert found["after 1 s"]["memory", "MiB"] < 1.2 * found["after 0.5 s"]["memory", "MiB"]


def test_clocks_change_nothing_of_what_is_heard() -> None:
    model, samples = small_model(second=True), voice(0.6)
    network, target = model.network.pipeline(), model.network.target(torch.randn(1, model.config.network.speaker))
    pipeline = model.pipeline(model.contents(model.config.network.chunk), network, 16000, 16000)
    taken: dict[str, Samples] = {}
    under = clocked(pipeline, taken)
    heard = [ConversionStream(Setup(stages, 16000, 16000), lambda _: target, "random") for stages in (pipeline, under)]
    assert heard[0].latency == heard[1].latency
    np.testing.assert_array_equal(heard[1].push(samples), heard[0].push(samples))
    np.testing.assert_array_equal(heard[1].flush(), heard[0].flush())
    assert set(taken) == {"content", "network", "vocoder"} | PARTS
    assert len({len(times.wall) for times in taken.values()}) == 1


def test_a_model_in_a_folder_is_measured_as_it_was_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save(tmp_path / "small", small_model(), "# small\n", {}, dtype=None)
    found = measured(capsys, "--model", str(folder), "--seconds", "0.4", "--rate", "16000")
    cases = {case.removeprefix(f"{folder} 80 ms 2 steps: ") for case in found}
    assert cases == {"content", "tune", "network", "colour", "vocoder", "total", "after 0.4 s"} | PARTS
    with pytest.raises(SpeechError, match="expected"):
        main(["vc", "--model", "no-such-model"])


def test_the_full_sizes_are_those_of_the_public_models() -> None:
    assert SIZES["meanvc"] == ConverterModelConfig()
    assert SIZES["meanvc2"].network == ConverterConfig.second()
    assert set(ORIGINAL) == {(name, setting) for name, settings in SETTINGS.items() for setting in settings}
