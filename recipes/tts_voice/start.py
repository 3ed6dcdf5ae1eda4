"""What training begins with: the parts of the model, its table of voices a row longer."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from recipes.tts_small.assemble import PARTS
from recipes.tts_voice.folder import recordings
from recipes.tts_voice.settings import VoiceSettings
from speech.errors import SpeechError
from speech.hub.checkpoint import load_folder
from speech.tts.layout import Vocabulary


def start(settings: VoiceSettings) -> None:
    """Write the parts of the model where `init_from` of each looks for them, unless they are there.

    Raises SpeechError where the work folder was begun for another voice, folder or model, the folder holds no
    recordings, or the model is damaged.
    """
    folder, data = settings.part("start"), Path(settings.raw.folder).expanduser()
    mark, model = folder / "run.json", settings.checkpoint
    run = {"data": str(data.resolve()), "model": str(model.resolve()), "voice": settings.raw.voice}
    if mark.is_file():
        begun = json.loads(mark.read_text(encoding="utf-8"))
        if begun != run:
            key = next(key for key in run if run[key] != begun.get(key))
            raise SpeechError(
                f"expected {key}={begun.get(key)}, with which {settings.work} was begun, got {run[key]}: "
                "choose another work=... folder"
            )
        return
    recordings(data)  # one that will not do is told before it is kept as what this work is about
    parts = load_folder(model).model
    states = {name: parts.get_submodule("tokenizer" if name == "content" else name).state_dict() for name in PARTS}
    states["lm"]["embed.weight"] = extended(states["lm"]["embed.weight"], settings.base.lm.vocabulary)
    folder.mkdir(parents=True, exist_ok=True)
    for name, state in states.items():
        torch.save(state, folder / f"{name}.pt")
    mark.write_text(json.dumps(run), encoding="utf-8")  # last: with it all parts are there


def extended(table: Tensor, vocabulary: Vocabulary) -> Tensor:
    """The language model's table with a row for one more voice, the mean of the others. [rows, d] -> [more, d].

    A model without voices gets two rows of zeros, the first for all voices that have no row of their own.
    """
    voices = table[vocabulary.first_voice :]
    if not len(voices):
        voices = table.new_zeros(1, table.shape[1])
    return torch.cat([table[: vocabulary.first_voice], voices, voices.mean(0, keepdim=True)])
