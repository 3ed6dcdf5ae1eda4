"""A composed Hydra configuration, typed parts of it, and where a recipe keeps its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from speech.errors import SpeechError
from speech.hub.schema import from_tree, to_tree

CONF = Path(__file__).parents[2] / "conf"
T = TypeVar("T")


@dataclass(frozen=True)
class BaseSettings:
    """One run of a recipe. `raw` holds what only one stage reads; a recipe adds the typed parts."""

    raw: DictConfig

    @property
    def work(self) -> Path:
        return Path(self.raw.work)

    def part(self, name: str) -> Path:
        """Where the stage that trains a part keeps its log and checkpoints."""
        return self.work / name


def compose_raw(recipe: str, overrides: list[str]) -> DictConfig:
    """`conf/<recipe>.yaml` under Hydra overrides. Raises SpeechError for an override that does not fit."""
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            raw = compose(recipe, overrides)
        OmegaConf.resolve(raw)
        missing = sorted(OmegaConf.missing_keys(raw))
    except (HydraException, OmegaConfBaseException) as error:
        raise SpeechError(
            f"expected overrides of conf/{recipe}.yaml, got {' '.join(overrides)!r}: {error}{_quoting(overrides)}"
        ) from error
    if missing:
        raise SpeechError(f"expected a value for {', '.join(missing)}: add {missing[0]}=... to the command")
    return raw


def _quoting(overrides: list[str]) -> str:
    """What to add to an error where a value holds a character that Hydra gives a meaning, as in `step=100.ckpt`."""
    for override in overrides:
        key, _, value = override.partition("=")
        if "=" in value and value[0] not in "\"'{[":
            return f"; a value with = in it needs quotes within quotes: '{key}=\"{value}\"'"
    return ""


def typed(kind: type[T], node: DictConfig, name: str) -> T:
    """The frozen configuration `kind` with its defaults under the values of `node`; `name` is for messages."""
    tree: Any = OmegaConf.to_container(OmegaConf.merge(to_tree(kind()), node))
    return from_tree(kind, tree, name)
