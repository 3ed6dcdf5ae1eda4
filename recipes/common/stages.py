"""The stages of a recipe: each a module of its package, with a function of the same name that takes the settings."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from recipes.common.settings import BaseSettings
from speech.errors import SpeechError

NONE: Mapping[str, str] = MappingProxyType({})


def run_stages(
    package: str,
    stages: Sequence[str],
    usual: Sequence[str],
    settings: BaseSettings,
    borrowed: Mapping[str, str] = NONE,
) -> None:
    """Run what `stage=` names, in that order: one of `stages`, a list of them, or "all", which is `usual`.

    package: where the stages lie, as in "recipes.asr_small"; borrowed: by stage, another package where it lies instead.
    Raises SpeechError for an unknown stage before any begins.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    wanted = settings.raw.stage
    names = usual if wanted == "all" else [wanted] if isinstance(wanted, str) else list(wanted)
    for name in names:
        if name not in stages:
            raise SpeechError(f"expected stage to be all or some of {', '.join(stages)}, got {name!r}")
    for name in names:
        getattr(importlib.import_module(f"{borrowed.get(name, package)}.{name}"), name)(settings)


def command(main: Callable[[list[str]], None]) -> None:
    """`python -m recipes.<name>.run [overrides]`: an error is one line."""
    try:
        main(sys.argv[1:])
    except SpeechError as error:
        sys.exit(f"error: {error}")
