from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from speech.errors import SpeechError
from speech.hub.download import select
from speech.hub.nemo.file import convert
from tests.hub.foreign import archive, ctc_only
from tests.hub.server import GATED, SHORT, serving

ROOT = Path(__file__).resolve().parents[2]
MULTI = "nvidia/stt_en_fastconformer_hybrid_large_streaming_multi"
CARD = "---\nlicense: cc-by-4.0\n---\n# A model\n\nIt listens.\n"

CLIENT = """
import json, sys, numpy as np, speech
from speech.hub.models import info, pull
for line in sys.stdin:
    verb, name = json.loads(line)
    try:
        if verb == "load":
            recogniser = speech.load(name)
            transcript = recogniser.transcribe(np.zeros(16000, np.float32), 16000)
            answer = [recogniser.look_aheads, recogniser.decoders, transcript.duration]
        else:
            answer = str(pull(name)) if verb == "pull" else info(name).to_dict()
    except speech.SpeechError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
"""


@dataclass(frozen=True)
class Outcome:
    """What a process was answered with the hub at hand and, after that, without it, and what the hub saw."""

    online: dict[str, object]
    offline: dict[str, object]
    requests: list[str]
    cache: Path


@contextmanager
def client(endpoint: str, home: Path) -> Iterator[Callable[..., dict[str, object]]]:
    """A process of its own that fulfils wishes (verb, name) and answers by "verb name"."""
    env = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home / "hf"), "SPEECH_CACHE": str(home / "cache")}
    env |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", CLIENT]
    with subprocess.Popen(
        command, cwd=ROOT, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        wishes, answers = process.stdin, process.stdout

        def ask(*wanted: tuple[str, str]) -> dict[str, object]:
            found = {}
            for wish in wanted:
                print(json.dumps(wish), file=wishes, flush=True)
                found[" ".join(wish)] = json.loads(answers.readline())
            return found

        yield ask
        wishes.close()


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    home = tmp_path_factory.mktemp("home")
    hub = home / "hub"
    for name in (MULTI, "someone/two", "someone/empty", "someone/damaged", GATED, SHORT):
        (hub / name).mkdir(parents=True)
        (hub / name / "README.md").write_text(CARD)
    for name in (MULTI, "someone/two", GATED, SHORT):
        archive(hub / name / f"{name.partition('/')[2]}.nemo")
    archive(hub / "someone/two/other.nemo", ctc_only())
    (hub / "someone/damaged/damaged.nemo").write_bytes(b"x" * 3000)
    convert(archive(home / "x.nemo", ctc_only()), hub / "someone/ours")
    good = [MULTI, "someone/two", "someone/ours"]
    bad = ["someone/empty", "someone/damaged", "someone/none", GATED, SHORT]
    with ExitStack() as stack:
        with serving(hub) as (endpoint, requests):
            ask = stack.enter_context(client(endpoint, home))
            online = ask(*(("load", name) for name in good + bad), ("pull", MULTI), ("info", MULTI))
        offline = ask(*(("load", name) for name in good), ("load", "someone/else"), ("pull", MULTI), ("info", MULTI))
    return Outcome(online, offline, requests, home / "cache")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        (MULTI, [[240, 0], ["rnnt", "ctc"], 1.0]),
        ("someone/two", [[240, 0], ["rnnt", "ctc"], 1.0]),
        ("someone/ours", [[240, 0], ["ctc"], 1.0]),
    ],
)
def test_fetched_once_and_loaded_without_a_network(outcome: Outcome, name: str, answer: object) -> None:
    assert outcome.online[f"load {name}"] == answer
    assert outcome.offline[f"load {name}"] == answer
    fetched = [line for line in outcome.requests if line.startswith(f"GET {name}/resolve") and not line.endswith(".md")]
    expected = {
        MULTI: 2,
        "someone/two": 1,
        "someone/ours": 3,
    }  # `pull` fetches again; ours: weights, config, vocabulary
    assert len(fetched) == expected[name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("someone/empty", "it holds README.md"),
        ("someone/damaged", "whole tar archive"),
        ("someone/none", "there is neither: check the name"),
        (GATED, "accept its terms"),
        (SHORT, "too short"),
    ],
)
def test_what_the_hub_cannot_give(outcome: Outcome, name: str, message: str) -> None:
    answer = outcome.online[f"load {name}"]
    assert isinstance(answer, dict)
    assert message in answer["error"]
    assert "\n" not in answer["error"]


def test_without_a_network(outcome: Outcome) -> None:
    for wish in ("load someone/else", f"pull {MULTI}"):
        answer = outcome.offline[wish]
        assert isinstance(answer, dict)
        assert "check the network" in answer["error"]
    assert outcome.offline[f"info {MULTI}"] == outcome.online[f"info {MULTI}"]  # a failed pull leaves what was there


def test_pull_answers_with_the_folder(outcome: Outcome) -> None:
    folder = Path(str(outcome.online[f"pull {MULTI}"]))
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.yaml",
        "model.safetensors",
        "vocab.txt",
    ]
    assert (folder / "README.md").read_text() == CARD


def test_downloads_are_cleared_away(outcome: Outcome) -> None:
    left = {path.name for path in (outcome.cache / "downloads").iterdir()}
    assert left <= {name.replace("/", "--") for name in (GATED, SHORT)}  # an unfinished one may stay, to be taken up


def test_which_files_are_chosen() -> None:
    ours = ["config.yaml", "model.safetensors", "tokenizer.model"]
    assert select("a/b", [*ours, "x.nemo"]) == ["model.safetensors", "config.yaml", "tokenizer.model"]
    assert select("a/b", ["README.md", "x.nemo"]) == ["x.nemo", "README.md"]
    assert select("a/b", ["x.nemo", "b.nemo"]) == ["b.nemo"]
    for present in (["x.nemo", "y.nemo"], ["config.yaml", "tokenizer.model"], []):
        with pytest.raises(SpeechError, match="a/b"):
            select("a/b", present)
