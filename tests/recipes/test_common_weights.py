"""What `init_from` may name."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="the training extra is not installed")

import torch
from safetensors.torch import save_file

from recipes.common.settings import compose_raw
from recipes.common.weights import read_state, weights_file
from recipes.tts_small import parts
from recipes.tts_small.parts import start_of
from recipes.vc_small.settings import compose_settings
from speech.errors import SpeechError


def trained(part: Path, steps: int) -> Path:
    """A checkpoint as training leaves it: its only weight is the number of steps."""
    path = part / "checkpoints" / f"step={steps}.ckpt"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": {"model.weight": torch.tensor([float(steps)])}, "global_step": steps}, path)
    return path


def test_a_folder_stands_for_its_newest_checkpoint(tmp_path: Path) -> None:
    part, newest = tmp_path / "convert", trained(tmp_path / "convert", 100)
    trained(part, 90)
    (part / "checkpoints" / "step=110.ckpt").write_bytes(b"cut short")
    for source in (part, part / "checkpoints", newest):
        assert weights_file(source) == newest
        assert read_state(source)["weight"].item() == 100


def test_a_part_is_found_in_a_whole_model(tmp_path: Path) -> None:
    tensors = {f"{name}.weight": torch.full((1,), value) for name, value in (("network", 1.0), ("tokenizer", 2.0))}
    save_file(tensors, tmp_path / "model.safetensors")
    assert start_of("convert", tmp_path)["weight"].item() == start_of("post", tmp_path)["weight"].item() == 1
    assert start_of("content", tmp_path)["weight"].item() == 2
    assert read_state(tmp_path).keys() == tensors.keys()


def test_weights_lie_between_those_of_the_start_and_the_trained_ones(tmp_path: Path) -> None:
    one, two = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    save_file({f"network.{name}": x.data for name, x in one.named_parameters()}, tmp_path / "model.safetensors")
    path = trained(tmp_path / "convert", 5)
    position = {"batches": 5, "audio_hours": 0.1, "hardware": "none"}
    state = {f"model.{name}": x.data for name, x in two.named_parameters()}
    torch.save({"state_dict": state, "global_step": 5, "position": position}, path)
    given = [f"work={tmp_path}", f"convert.init_from={tmp_path}"]
    for share in (0.0, 0.25, 1.0):
        settings = compose_settings([*given, f"convert.interpolate={share}"])
        model = parts.trained(settings, "convert", torch.nn.Linear(2, 1))[0]
        torch.testing.assert_close(model.weight.data, (1 - share) * one.weight.data + share * two.weight.data)
    with pytest.raises(SpeechError, match=r"expected convert\.init_from"):
        parts.trained(compose_settings([given[0], "convert.interpolate=0.5"]), "convert", torch.nn.Linear(2, 1))


def test_what_holds_no_weights_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match="init_from to name"):
        read_state(tmp_path)
    for name in ("weights.pt", "model.safetensors"):
        (tmp_path / name).write_text("no weights")
        with pytest.raises(SpeechError, match=f"weights in .*{name}"):
            read_state(tmp_path / name)


def test_a_value_with_an_equals_sign_is_quoted_as_the_error_says() -> None:
    with pytest.raises(SpeechError, match="quotes within quotes") as error:
        compose_raw("vc_small", ["convert.init_from=some/step=100.ckpt"])
    said = str(error.value).rsplit("'", 2)[1]
    assert compose_raw("vc_small", [said]).convert.init_from == "some/step=100.ckpt"
