"""Voices on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from speech.errors import SpeechError
from speech.tts.voice import PARTS, Voice, pack_voices, read_voices


def _voices() -> dict[str, Voice]:
    torch.manual_seed(0)
    prompted = Voice.prompted(torch.randn(6), torch.arange(9), torch.randn(15, 4), torch.tensor([3, 1]))
    return {"st. john": prompted, "mary": replace(Voice.plain(torch.randn(6), 4, index=2), gain=1.5)}


def test_a_prompt_is_cut_to_whole_codes() -> None:
    voice = _voices()["st. john"]
    assert voice.codes.tolist() == list(range(7)) and len(voice.mel) == 14


def test_voices_come_back_as_they_were(tmp_path: Path) -> None:
    voices, path = _voices(), tmp_path / "voices.safetensors"
    path.write_bytes(pack_voices(voices))
    back = read_voices(path)
    assert list(back) == ["st. john", "mary"]
    for name, voice in voices.items():
        for part in PARTS[:-1]:
            assert torch.equal(getattr(back[name], part), getattr(voice, part))
        assert (back[name].index, back[name].gain) == (voice.index, pytest.approx(voice.gain))
    older = {name: value for name, value in load(path.read_bytes()).items() if not name.endswith(".gain")}
    path.write_bytes(save(older))
    assert read_voices(path)["mary"].gain == 1.0


def test_damaged_voices_are_told(tmp_path: Path) -> None:
    path, data = tmp_path / "voices.safetensors", pack_voices(_voices())
    path.write_bytes(data[:-20])
    with pytest.raises(SpeechError, match="damaged or cut short"):
        read_voices(path)
    tensors = load(data)
    path.write_bytes(save({name: value for name, value in tensors.items() if name != "mary.mel"}))
    with pytest.raises(SpeechError, match=r"voice 'mary' in .*some are missing"):
        read_voices(path)
    path.write_bytes(save(tensors | {"st. john.mel": torch.zeros(3, 4)}))
    with pytest.raises(SpeechError, match="they do not: add it anew"):
        read_voices(path)
