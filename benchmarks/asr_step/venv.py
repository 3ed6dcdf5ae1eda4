"""NeMo's own environment, which sherpa-onnx shares."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from venv import EnvBuilder

from speech.config import cache_folder
from speech.errors import SpeechError

NEMO, SHERPA = "3.0.0", "2.0.1"
PACKAGES = (  # torch first: NeMo then keeps this build
    ["torch==2.13.0"],
    [f"nemo_toolkit[asr]=={NEMO}", "onnxruntime", f"sherpa-onnx=={SHERPA}"],
)
FOLDER = cache_folder() / "benchmarks" / f"nemo-{NEMO}"


def add_nemo_option(parser: argparse.ArgumentParser) -> None:
    """Declare `--with-nemo`: the folder of the environment, or None."""
    parser.add_argument(
        "--with-nemo",
        type=Path,
        nargs="?",
        const=FOLDER,
        metavar="FOLDER",
        help=f"compare with NeMo, in its own environment in FOLDER (default: {FOLDER}), made where it is not there",
    )


def nemo_python(folder: Path) -> Path:
    """The interpreter of the environment in `folder`, which is made where it is not there (2.2 GB, some minutes).

    Raises SpeechError where a package cannot be installed.
    """
    python, ready = folder / "bin" / "python", folder / "ready"
    wanted = "\n".join(" ".join(packages) for packages in PACKAGES)
    if ready.exists() and ready.read_text() == wanted:
        return python
    print(f"installing NeMo {NEMO} and sherpa-onnx {SHERPA} into {folder} ...", file=sys.stderr)
    if not python.exists():
        EnvBuilder(with_pip=True).create(folder)
    for packages in PACKAGES:
        done = subprocess.run([python, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True)
        if done.returncode:
            raise SpeechError(
                f"expected pip to install {' '.join(packages)} into {folder}, it failed: {done.stderr.strip()[-300:]}"
            )
    ready.write_text(wanted)
    return python
