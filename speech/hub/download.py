"""Fetching checkpoints from the Hugging Face hub."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError

from speech.config import cache_folder
from speech.errors import SpeechError
from speech.hub.checkpoint import CARD, CONFIG, KNOWN, WEIGHTS, read_config, replacing
from speech.hub.cosyvoice import folder as cosyvoice
from speech.hub.nemo import file as nemo
from speech.hub.public import COSYVOICE, is_whisper
from speech.hub.whisper import folder as whisper


def fetch(name: str, folder: Path) -> Path:
    """Download the model `owner/name` (a `.nemo` file, CosyVoice, Whisper, or our own layout) as checkpoint `folder`.

    A broken download is taken up where it stopped. The downloaded files go once the checkpoint is complete.

    Raises:
        SpeechError: the name is unknown, the hub is out of reach, or the files are not a model that can be read.
    """
    staging = cache_folder() / "downloads" / name.replace("/", "--")
    try:
        info = huggingface_hub.HfApi().model_info(name, timeout=30)
        present = [file.rfilename for file in info.siblings or []]
        wanted = select(name, present)
        files: dict[str, Path] = {}
        for file in wanted:
            files[file] = Path(huggingface_hub.hf_hub_download(name, file, revision=info.sha, local_dir=staging))
            if file == whisper.CONFIG and not is_whisper(staging):  # told before its weights are fetched
                raise SpeechError(f"expected a Whisper in the hub repository {name}, it holds another model: name one")
    except SpeechError:
        raise
    except Exception as error:  # the library's transport, and with it its error classes, differ between versions
        raise _explained(name, error) from error
    try:
        if CONFIG in files:
            read_config(staging)
            with replacing(folder) as made:
                for file, path in files.items():
                    shutil.copyfile(path, made / file)
        elif files.keys() >= COSYVOICE:
            cosyvoice.convert(staging, folder)
        elif is_whisper(staging):
            whisper.convert(staging, folder)
        else:
            card = files[CARD].read_text(encoding="utf-8", errors="replace") if CARD in files else None
            nemo.convert(files[wanted[0]], folder, card)
    finally:
        shutil.rmtree(staging, ignore_errors=True)  # a file that cannot be read is not taken up again either
    return folder


def select(name: str, present: Sequence[str]) -> list[str]:
    """The files to fetch of those `present` in a repository, what tells the kind of model first."""
    card = [CARD] if CARD in present else []
    if WEIGHTS in present and CONFIG in present:
        return [WEIGHTS, CONFIG, *(file for file in present if file in KNOWN - {WEIGHTS, CONFIG, CARD}), *card]
    if {*present} >= COSYVOICE:
        return cosyvoice.needed(present, f"the hub repository {name}")
    if found := whisper.needed(present):
        return [*found, *card]
    archives = [file for file in present if file.endswith(".nemo")]
    if len(archives) > 1:
        archives = [file for file in archives if file == f"{name.partition('/')[2]}.nemo"]
    if len(archives) == 1:
        return [*archives, *card]
    raise SpeechError(
        f"expected one .nemo file, {WEIGHTS} with {CONFIG}, or the files of CosyVoice or Whisper in the hub repository "
        f"{name}, "
        f"it holds {', '.join(present[:8]) or 'nothing'}: name another model"
    )


def _explained(name: str, error: Exception) -> SpeechError:
    if isinstance(error, GatedRepoError):
        return SpeechError(
            f"expected access to {name}, the hub asks for it: accept its terms there, then `hf auth login`"
        )
    if isinstance(error, (RepositoryNotFoundError, HFValidationError)):
        return SpeechError(f"expected a folder or a public hub model called {name}, there is neither: check the name")
    if isinstance(error, HfHubHTTPError):
        return SpeechError(
            f"expected the hub to serve {name}, it answered {error.response.status_code}: try again later"
        )
    if "Consistency check failed" in str(error):
        return SpeechError(f"expected the whole of {name} from the hub, a file came out too short: fetch it again")
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return SpeechError(
        f"expected {name} in the cache or the hub within reach, neither holds ({reason}): "
        "check the network, or fetch the model elsewhere and name its file"
    )
