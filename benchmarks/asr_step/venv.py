"""NeMo's own environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from venv import EnvBuilder

from speech.config import cache_folder
from speech.errors import SpeechError

NEMO = "3.0.0"
PACKAGES = (["torch==2.13.0"], [f"nemo_toolkit[asr]=={NEMO}", "onnxruntime"])  # torch first: NeMo then keeps this build
FOLDER = cache_folder() / "benchmarks" / f"nemo-{NEMO}"


def nemo_python(folder: Path) -> Path:
    """The interpreter of the environment in `folder`, which is made where it is not there (2.2 GB, some minutes).

    Raises SpeechError where a package cannot be installed.
    """
    python, ready = folder / "bin" / "python", folder / "ready"
    if ready.exists():
        return python
    print(f"installing NeMo {NEMO} into {folder} ...", file=sys.stderr)
    EnvBuilder(with_pip=True).create(folder)
    for packages in PACKAGES:
        done = subprocess.run([python, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True)
        if done.returncode:
            raise SpeechError(
                f"expected pip to install {' '.join(packages)} into {folder}, it failed: {done.stderr.strip()[-300:]}"
            )
    ready.touch()
    return python
