"""Golden numbers of CosyVoice 2's text-speech language model: states, scores and whole id sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from speech.hub.cosyvoice.lm import from_cosyvoice_lm
from speech.streaming.arena import Arena
from speech.streaming.frames import Frames
from speech.tts.generation import Generation
from speech.tts.joint import Interleaved, Whole
from speech.tts.layout import NOTHING, Utterance
from speech.tts.lm import TextSpeechLM
from speech.tts.sampling import Sampler, SamplingConfig

TOLERANCE = 1e-4
SAMPLING = {"argmax": SamplingConfig(temperature=0.0), "ras": SamplingConfig()}


@dataclass(frozen=True, eq=False)
class Golden:
    lm: TextSpeechLM
    arrays: dict[str, np.ndarray]

    def ids(self, name: str) -> list[int]:
        return self.arrays[name].tolist()

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    @property
    def prompt(self) -> Utterance:
        return Utterance(self.ids("prompt_text"), self.ids("prompt_speech"))


class Recorder(Sampler):
    """A sampler that writes down what it was given and how many draws it used."""

    def __init__(self, config: SamplingConfig, draws: Sequence[float]) -> None:
        self.left, self.seen, self.used = iter(draws), [], []
        super().__init__(config, self._counted())

    def _counted(self) -> Iterator[float]:
        for draw in self.left:
            self.used[-1] += 1
            yield draw

    def __call__(self, scores: Tensor, history: Sequence[int] = (), apart: int | None = None) -> int:
        self.seen.append(scores)
        self.used.append(0)
        return super().__call__(scores, history, apart)


@cache
def _golden(folder: Path) -> Golden:
    tensors = torch.load(folder / "llm.pt", weights_only=True)
    config, ours = from_cosyvoice_lm(tensors, head_dim=16, left=256)
    lm = TextSpeechLM(config)
    lm.load_state_dict(ours)
    with np.load(folder / "io.npz") as file:
        return Golden(lm.eval(), dict(file))


@pytest.fixture(scope="module")
def golden(shared: Path) -> Golden:
    return _golden(shared / "fixtures" / "cosyvoice2_lm")


def assert_log_probabilities(got: list[Tensor], expected: Tensor) -> None:
    """Scores equal log-probabilities up to a number for each row: the original took a masked id's share from it."""
    scores = torch.stack(got)[: len(expected)]
    assert torch.equal(scores.isinf(), expected.isinf())
    difference = scores - expected
    low, high = difference.nan_to_num(1e9).amin(1), difference.nan_to_num(-1e9).amax(1)
    assert (high - low).max() < TOLERANCE


def test_the_prefix(golden: Golden) -> None:
    lm, v = golden.lm, golden.lm.config.vocabulary
    script = Whole(v, stock=True).script(golden.prompt)
    script.push(golden.ids("text"))
    script.end()
    rows = torch.tensor([script.feed()])
    with torch.inference_mode():
        embedded = lm.embedded(rows)
        states = lm.decoder(Frames.whole(embedded)).data
        torch.testing.assert_close(embedded[0], golden.tensor("prefix_embeddings"), rtol=0, atol=1e-6)
        torch.testing.assert_close(states[0], golden.tensor("prefix_hidden"), rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(lm(rows)[0], golden.tensor("prefix_logits"), rtol=0, atol=TOLERANCE)
        arena = Arena(lm.decoder, 1)
        zero = torch.zeros(1, dtype=torch.long)
        last = [lm.step(rows[:, i : i + n], zero + i, arena.state, zero) for i, n in ((0, 30), (30, 1), (31, 43))]
        expected = golden.tensor("prefix_logits")[[29, 30, 73]]
        torch.testing.assert_close(torch.cat(last), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("mode", SAMPLING)
def test_whole_text(golden: Golden, mode: str) -> None:
    draws = golden.arrays["uniform_draws"][44:].tolist()
    sampler = Recorder(SAMPLING[mode], draws)
    script = Whole(golden.lm.config.vocabulary, stock=True).script(golden.prompt)
    stream = Generation(golden.lm, script, sampler)
    stream.push(golden.ids("text"))
    assert list(stream.codes()) == []  # the text may go on
    stream.end()
    assert list(stream.codes()) == golden.ids(f"uni_{mode}_ids")
    assert stream.done
    assert_log_probabilities(sampler.seen, golden.tensor(f"uni_{mode}_logp"))
    if mode == "ras":
        assert sampler.used == golden.ids("uni_ras_draws_per_call")


@pytest.mark.parametrize("mode", SAMPLING)
@pytest.mark.parametrize("prompted", ["prompt", "noprompt"])
def test_streamed_text(golden: Golden, prompted: str, mode: str) -> None:
    name = f"bi_{prompted}_{mode}"
    sampler = Recorder(SAMPLING[mode], golden.arrays["uniform_draws"].tolist())
    script = Interleaved(golden.lm.config.vocabulary, stock=True).script(
        golden.prompt if prompted == "prompt" else NOTHING
    )
    stream = Generation(golden.lm, script, sampler)
    codes, available, pieces = [], [], iter(golden.tensor("text").split(golden.ids("piece_lengths")))
    while not stream.done:
        codes += stream.codes()
        if not stream.done:
            available.append(len(sampler.seen))
            piece = next(pieces, None)
            stream.end() if piece is None else stream.push(piece.tolist())
    assert codes == golden.ids(f"{name}_ids")
    assert script.ids == golden.ids(f"{name}_ids_with_fill")
    assert available == golden.ids(f"{name}_ids_available_at_feed")
    fills = [i for i, id in enumerate(script.ids) if id == script.vocabulary.fill]
    forced, sampled = (golden.ids(f"{name}_{kind}_fill_positions") for kind in ("forced", "sampled"))
    assert fills == sorted(forced + sampled) and len(sampler.seen) == len(script.ids) - len(forced)
    assert_log_probabilities(sampler.seen, golden.tensor(f"{name}_logp"))
    if mode == "ras":
        assert sampler.used == golden.ids(f"{name}_draws_per_call")
