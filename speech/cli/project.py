"""`speech train` and `speech bench`: verbs that work in a checkout of the project, where recipes and benchmarks lie."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from speech.cli.output import AsJson, emit
from speech.errors import SpeechError

PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True}
TRAIN_EXTRA = ("lightning", "lhotse", "hydra", "pocketsphinx")


def checkout(folder: str) -> Path:
    """The path of `folder` in the project's checkout, which is put on the import path.

    Raises SpeechError where the package was installed without its checkout.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / folder).is_dir():
        raise SpeechError(
            f"expected the project's folder {folder}/ beside the package, found none in {root}: "
            "clone the project and install it with `pip install -e .`"
        )
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return root / folder


def _recipe(name: str, folder: Path) -> ModuleType:
    known = sorted(path.parent.name for path in folder.glob("*/run.py"))
    if name not in known:
        raise SpeechError(f"expected one of the recipes {', '.join(known) or '(none)'}, got {name!r}")
    missing = [module for module in TRAIN_EXTRA if importlib.util.find_spec(module) is None]
    if missing:
        raise SpeechError(
            f"expected the libraries of training, {', '.join(missing)} not found: "
            "install them with `pip install 'streaming-speech[train]'`"
        )
    return importlib.import_module(f"recipes.{name}.run")


def train(
    ctx: typer.Context,
    recipe: Annotated[str, typer.Argument(help="A folder of recipes/, such as asr_small.")],
    as_json: AsJson = False,
) -> None:
    """Train a model by a recipe; what follows the recipe's name goes to Hydra as it is (`optim.lr=1e-3`)."""
    begin = time.perf_counter()
    _recipe(recipe, checkout("recipes")).main(list(ctx.args))
    if as_json:
        emit({"recipe": recipe, "overrides": list(ctx.args), "seconds": round(time.perf_counter() - begin, 1)})


def bench(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="A benchmark; without one they are listed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure: run a benchmark of the registry; what follows its name goes to it as it is."""
    checkout("benchmarks")
    run = importlib.import_module("benchmarks.run")
    code = run.main([*([name] if name else []), *(["--json"] if as_json else []), *ctx.args])
    if code:
        raise typer.Exit(code)
