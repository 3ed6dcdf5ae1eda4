"""The parts of the synthesiser in training, and trained."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from recipes.common.callbacks import checkpoints
from recipes.common.optim import AdamWConfig, adamw
from recipes.common.settings import BaseSettings
from recipes.common.training import Resumable, fit, make_trainer
from recipes.common.weights import newest, put, read_state, weights_file
from recipes.tts_small.pools import Numbered
from speech.errors import SpeechError

log = logging.getLogger(__name__)
M = TypeVar("M", bound=nn.Module)

NAMES = {"content": ("content", "tokenizer"), "convert": ("network",), "post": ("network",)}
"""What parts are called in a whole model, where that is not what their stages are called."""


class Part(Resumable):
    """A part of the synthesiser in training by AdamW; `model` is what checkpoints are read for."""

    def __init__(self, model: Any, optim: AdamWConfig) -> None:
        super().__init__(model.config)
        self.model, self.optim = model, optim

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer, schedule = adamw(self.parameters(), self.optim)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def step_one(trained: Resumable, index: int, module: nn.Module, clip: float) -> None:
    """Clip, step and clear the optimiser of `module`, one of two: steps are counted by the first alone."""
    optimizer, schedule = trained.optimizers()[index], trained.lr_schedulers()[index]  # type: ignore[index]
    nn.utils.clip_grad_norm_(module.parameters(), clip)
    assert isinstance(optimizer, LightningOptimizer)
    (optimizer if index == 0 else optimizer.optimizer).step()
    optimizer.zero_grad()
    schedule.step()  # type: ignore[union-attr]


def train(settings: BaseSettings, name: str, module: Resumable, data: Numbered, optim: AdamWConfig) -> None:
    """Train until `<name>.optim.steps`, or for `trainer.minutes`; goes on from the newest checkpoint."""
    seed_everything(settings.raw.seed, verbose=False)
    folder, source = settings.part(name), settings.raw[name].init_from
    found = checkpoints(folder / "checkpoints")
    if found:
        log.info("%s: going on from %s", name, found[0])
    elif source:
        put(module.get_submodule("model"), start_of(name, Path(source)), Path(source), ("",))
    freeze(module.get_submodule("model"), tuple(settings.raw[name].frozen), f"{name}.frozen")
    more = {"gradient_clip_val": optim.clip} if module.automatic_optimization else {}
    trainer = make_trainer(settings.raw.trainer, optim, folder, validate=data.held_out is not None, **more)
    fit(trainer, module, data, found[0] if found else None)


def freeze(model: nn.Module, beginnings: tuple[str, ...], key: str) -> None:
    """Spare the weights whose names begin so from training. Raises SpeechError where no name does; key: for it."""
    names = [name for name, _ in model.named_parameters()]
    strange = [beginning for beginning in beginnings if not any(name.startswith(beginning) for name in names)]
    if strange:
        known = ", ".join(dict.fromkeys(name.split(".")[0] for name in names))
        raise SpeechError(f"expected {key} to name some of {known}, got {strange[0]}: correct it")
    for name, weight in model.named_parameters():
        if name.startswith(beginnings):
            weight.requires_grad_(False)


def start_of(name: str, source: Path) -> dict[str, Tensor]:
    """The tensors of a part from what `<name>.init_from` names; see `weights_file`."""
    return read_state(source, *NAMES.get(name, (name,)))


def origin(settings: BaseSettings, name: str) -> Path | None:
    """The file that a part's weights come from: its newest checkpoint; before it was trained, `<name>.init_from`."""
    found, given = checkpoints(settings.part(name) / "checkpoints"), settings.raw[name].init_from
    return found[0] if found else weights_file(Path(given)) if given else None


def trained(settings: BaseSettings, name: str, model: M) -> tuple[M, dict[str, Any]]:
    """`model` with its weights in evaluation mode, and `steps` with the position of their checkpoint.

    The weights are the averaged ones of the newest checkpoint or, before the part was trained, those of
    `<name>.init_from`; with `<name>.interpolate` they are those so far on the straight way from the latter to the
    former, where a model often has what it learnt and forgot little (Wortsman et al. 2022, arXiv 2109.01903). Raises
    SpeechError without either.
    """
    folder, path = settings.part(name) / "checkpoints", origin(settings, name)
    if path is None:
        raise SpeechError(f"expected a checkpoint in {folder}, found none: run stage={name} first")
    found = newest(folder)
    if found is None:
        put(model, start_of(name, path), path, ("",))
        return model.eval(), {"steps": 0, "batches": 0, "audio_hours": 0.0, "hardware": "none"}
    state, share = found[0], settings.raw[name].get("interpolate", 1.0)
    if share != 1.0:
        state = between(start_of(name, _start(settings, name)), state, share)
    model.load_state_dict(state)
    return model.eval(), found[1]


def _start(settings: BaseSettings, name: str) -> Path:
    if settings.raw[name].init_from:
        return Path(settings.raw[name].init_from)
    raise SpeechError(
        f"expected {name}.init_from beside {name}.interpolate, got none: name what the training began with"
    )


def between(start: dict[str, Tensor], end: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights so far on the way from `start`, which has the same names, to `end`."""
    return {name: torch.lerp(start[name].to(x), x, share) if x.is_floating_point() else x for name, x in end.items()}
