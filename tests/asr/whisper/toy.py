"""Whispers that can be checked word by word: they count tones aloud, "a b c ... p a b ...".

Tones of one pitch a letter come in the order of the alphabet, three a second. So a letter that is lost or doubled shows
in the text alone, wherever it was: the letter after it is not the next one. The weights lie in `counters.safetensors`;
`python -m tests.asr.whisper.toy` fits them anew, in three minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import cross_entropy

from speech.asr.whisper.config import Context, WhisperConfig
from speech.asr.whisper.model import Whisper
from speech.asr.whisper.tokenizer import Symbols, WhisperTokenizer
from speech.audio.mel import WHISPER, WHISPER_STREAMING
from speech.streaming.frames import Frames
from tests.asr.whisper.test_whisper_tokenizer import tiktoken, vocabulary

RATE, LETTERS, PERIOD, HEARD = 16000, 16, 0.32, 0.14
"""Hz; letters; seconds from tone to tone, and of a tone after which its letter is to come."""

FIRST = 256
"""The id of " a"."""

CHUNK, LEFT, POSITIONS = 10, 50, 200
END, START, NO_TIMES, BEFORE = range(LETTERS, LETTERS + 4)
WEIGHTS = Path(__file__).with_name("counters.safetensors")


def tones(letters: list[int], seed: int = 0) -> np.ndarray:
    """Samples [n] of tones for letters by number, amid a little noise; -1 is a pause as long as a tone."""
    t = np.arange(round(PERIOD * RATE)) / RATE
    shape = 0.2 * np.clip(np.minimum(t / 0.02, (0.24 - t) / 0.02), 0, 1)
    parts = [shape * np.sin(2 * np.pi * 300 * 2 ** (0.22 * n) * t) if n >= 0 else 0 * t for n in letters]
    noise = 1e-3 * np.random.default_rng(seed).standard_normal(len(letters) * len(t))
    return (np.concatenate([*parts, np.zeros(0)]) + noise).astype(np.float32)


def counted(count: int, first: int = 0) -> list[int]:
    """So many letters, in their order."""
    return [(first + i) % LETTERS for i in range(count)]


def spelt(letters: list[int]) -> str:
    return " ".join(chr(ord("a") + n) for n in letters)


def letter_tokenizer(folder: Path) -> WhisperTokenizer:
    """The English vocabulary's size, " a" to " z" among it."""
    alphabet = [bytes([32, 97 + i]) for i in range(26)]
    others = [token for token in vocabulary(50256)[256:] if token not in alphabet]
    tokens = [bytes([i]) for i in range(256)] + alphabet + others
    tiktoken(folder / "gpt2.tiktoken", tokens[:50256])
    return WhisperTokenizer.load(folder, Symbols(51864))


def counter(causal: bool) -> Whisper:
    """A model that counts, chunk by chunk (causal) or in windows of 4 s, with the vocabulary of English Whispers."""
    name = _name(causal)
    tensors = {key.removeprefix(name): x.float() for key, x in load_file(WEIGHTS).items() if key.startswith(name)}
    model = _blank(causal)
    model.load_state_dict(model.state_dict() | tensors)
    return _enlarged(model, _taught(causal))


def _name(causal: bool) -> str:
    return "causal." if causal else "windows."


def _taught(causal: bool) -> list[int]:
    """What a model learns, as ids of English Whispers: to windows belongs text before them, which it is to ignore."""
    s = Symbols(51864)
    symbols = [s.end, s.start, s.no_timestamps, *([] if causal else [s.start_of_previous])]
    return [*range(FIRST, FIRST + LETTERS), *symbols]


def _blank(causal: bool) -> Whisper:
    context = Context(CHUNK, LEFT, restart=POSITIONS // 2) if causal else Context.windows(POSITIONS)
    mel = replace(WHISPER_STREAMING if causal else WHISPER, features=24)
    model = Whisper(WhisperConfig(mel, 32, 1, 2, 1, 2, len(_taught(causal)), POSITIONS, 64, (context,)))
    model.encoder.get_buffer("positions.table").mul_(0.1)
    return model


def fitted(causal: bool) -> Whisper:
    """A model that has learnt to count, its vocabulary the letters and what opens and ends a text."""
    torch.manual_seed(0)
    model, steps = _blank(causal), 1500 if causal else 2500
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    torch.nn.init.normal_(model.decoder.positions.weight, std=0.02)
    rng, examples = np.random.default_rng(0), _examples(model, causal)
    optimiser = torch.optim.AdamW(model.parameters(), 4e-3, (0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        _mark_what_is_not_taught(model)
        optimiser.zero_grad()
        _loss(model, examples, rng, causal).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    _mark_what_is_not_taught(model)
    return model


STREAM, LENGTH = 22, 7.0
"""Tones and seconds of what is learnt from: a few letters, a pause, letters from "a" on, and silence."""


@dataclass(frozen=True)
class Examples:
    """Texts that begin in the midst of streams. mel: [n, t, f]; ids: [n, u]; given: [n], how many letters are; since,
    until: [n], encoder frames of what is heard of the stream at the most; begins: [n, letters], seconds at which their
    tones begin, infinite where there are no more; before: [n], ids before the start.
    """

    mel: Tensor
    ids: Tensor
    given: Tensor
    since: Tensor
    until: Tensor
    begins: Tensor
    before: Tensor

    def some(self, indices: np.ndarray) -> Examples:
        return Examples(*(getattr(self, field.name)[indices] for field in fields(self)))


def _examples(model: Whisper, causal: bool) -> Examples:
    """Half of the texts begin shortly before "a", with nothing given; the others anywhere."""
    rng, rows, pcm = np.random.default_rng(1), [], []
    for i in range(600 if causal else 3000):
        before, pause, delay = int(rng.integers(2, 12)), int(rng.integers(3, 6)), rng.uniform(0.0, PERIOD)
        start = before + pause  # of the letters from "a" on
        stop = int(rng.integers(start + 4, STREAM + 1))
        letters = [*counted(before, int(rng.integers(LETTERS))), *[-1] * pause, *counted(stop - start)]
        letters += [-1] * (STREAM - stop)
        if i % 2:
            at = int(rng.choice([*range(before), *range(start, stop - 3)]))
            since, given = delay + (at + rng.uniform(0.0, 0.9)) * PERIOD, int(rng.integers(1, 4))
        else:
            at, since, given = start, delay + start * PERIOD - rng.uniform(0.2, 0.5), 0
        end = before if at < before else stop
        begins = delay + PERIOD * np.arange(at, end)
        until = min(delay + (start * PERIOD if at < before else LENGTH), since + 0.02 * POSITIONS, LENGTH)
        x = np.concatenate([np.zeros(round(delay * RATE)), tones(letters, i)])[: round(LENGTH * RATE)]
        if not causal:
            until = rng.uniform(since + 0.3, max(until, since + 0.4))
            x = x[round(since * RATE) : round(until * RATE)]
            begins, since, until = begins - since, 0.0, until - since
        pcm.append(np.pad(x, (0, (round(LENGTH * RATE) if causal else POSITIONS * 320) - len(x))))
        text = [] if causal or i % 4 < 2 else [BEFORE, *counted(int(rng.integers(1, 8)), int(rng.integers(LETTERS)))]
        ids = [*text, START, NO_TIMES, *letters[at:end], *[END] * (STREAM + 8)][: STREAM + 10]
        begins = np.pad(begins, (0, STREAM - len(begins)), constant_values=np.inf)
        rows.append((ids, given, round(since / 0.02), round(until / 0.02), begins.tolist(), len(text)))
    with torch.no_grad():
        mel = model.mel(Frames.whole(torch.from_numpy(np.stack(pcm).astype(np.float32)))).data
    return Examples(mel, *map(torch.tensor, zip(*rows, strict=True)))


def _loss(model: Whisper, examples: Examples, rng: np.random.Generator, causal: bool) -> Tensor:
    """Cross-entropy of the letters that were heard and the end behind them, at several lengths of what was heard."""
    e, times = examples.some(rng.integers(len(examples.ids), size=8)), 4 if causal else 1
    heard = model.encoder(Frames.whole(e.mel)).data
    reach, now = None, e.until[:, None]
    if causal:
        part = torch.from_numpy(rng.random((8, times)))
        now = ((e.since[:, None] + part * (e.until - e.since)[:, None]) / CHUNK).ceil().long() * CHUNK
        now = now.clamp(max=heard.shape[1])
        reach = (now - e.since[:, None]).flatten()
        frame = e.since[:, None] + torch.arange(POSITIONS)
        heard = heard.gather(1, frame.clamp(max=heard.shape[1] - 1)[..., None].expand(-1, -1, heard.shape[2]))
    said = (e.begins[:, None] + HEARD <= 0.02 * now[..., None]).sum(-1).flatten()[:, None]
    ids, given = e.ids.repeat_interleave(times, 0), e.given.repeat_interleave(times)[:, None]
    place = torch.arange(ids.shape[1]) - 1 - e.before.repeat_interleave(times)[:, None]  # of what follows each id
    target = torch.cat([ids[:, 1:], torch.full((len(ids), 1), END)], 1)
    target = torch.where(place == said, END, target)
    target[(place < given) | (place > said) | (said < given)] = -100
    logits = model.decoder(ids, Frames.whole(heard), reach)
    written = cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-100)
    return written + 0.1 * sum(_elsewhere(model, e, heard, row) for row in range(2))


def _elsewhere(model: Whisper, e: Examples, heard: Tensor, row: int) -> Tensor:
    """How little of the attention falls on a letter's tone where the letter is written: its negative logarithm."""
    frame = torch.arange(heard.shape[1]) + e.since[row]
    begins = e.begins[row, :, None] / 0.02
    tone = (frame >= begins) & (frame < begins + 12)
    weights = model.decoder.attention(e.ids[row], Frames.whole(heard[row : row + 1]))[0]  # [h, u, t]
    place = int(e.before[row]) + 1
    shares = (weights[:, place : place + len(tone)] * tone[: weights.shape[1] - place]).sum(-1)
    inside = ((begins[:, 0] >= e.since[row]) & (begins[:, 0] + 12 <= e.until[row]))[: shares.shape[1]]
    return -shares[:, inside].clamp(min=1e-6).log().sum() / inside.sum().clamp(min=1) / len(shares)


@torch.no_grad()
def _mark_what_is_not_taught(model: Whisper) -> None:
    """Keep one channel free, constant before the output layer, by which ids can be held back."""
    model.decoder.embed.weight[:, 0] = 0.0
    model.decoder.norm.weight[0], model.decoder.norm.bias[0] = 0.0, 8.0


def _enlarged(model: Whisper, taught: list[int]) -> Whisper:
    """The model with the vocabulary of English Whispers; what it was not taught never comes."""
    state, vocabulary = model.state_dict(), 51864
    embed = torch.zeros(vocabulary, model.config.dim)
    embed[:, 0] = -8.0
    embed[taught] = state.pop("decoder.embed.weight")
    big = Whisper(replace(model.config, vocabulary=vocabulary))
    big.load_state_dict(state | {"decoder.embed.weight": embed})
    return big.eval()


if __name__ == "__main__":
    save_file(
        {
            _name(causal) + name: parameter.detach().half()
            for causal in (True, False)
            for name, parameter in fitted(causal).named_parameters()
        },
        WEIGHTS,
    )
