"""Which ids a model is trained on: all of Whisper's, or those alone that a small corpus has any use for.

Whisper's vocabulary has 50 000 ids of text. A model that is trained from nothing on a few hours of speech meets some
hundreds of byte pairs, and would spend most of its time and weights on the others. Here one row of the embedding stands
for all ids that never occur. As those are alike, the softmax over all of them is the softmax over the few, with the
number of the others as the weight of that row: what is trained is the full model, and `expanded` writes it out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from tokenizers import Tokenizer as Library
from tokenizers import decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from torch import Tensor

from speech.asr.whisper.model import Whisper
from speech.asr.whisper.tokenizer import Symbols, WhisperTokenizer
from speech.errors import SpeechError

ENGLISH = 51864
"""Ids of an English Whisper."""


@dataclass(frozen=True)
class Vocabulary:
    """size: of the full vocabulary. kept: ids with a row of their own, sorted; None where all have one."""

    size: int
    kept: tuple[int, ...] | None = None

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """Raises SpeechError before stage `prepare`."""
        if not path.is_file():
            raise SpeechError(f"expected a vocabulary at {path}, found none: run stage=prepare first")
        tree = json.loads(path.read_text())
        return cls(tree["size"], None if tree["kept"] is None else tuple(tree["kept"]))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps({"size": self.size, "kept": self.kept}))

    @property
    def rows(self) -> int:
        """Rows of the embedding in training."""
        return self.size if self.kept is None else len(self.kept) + 1

    @property
    def symbols(self) -> Symbols:
        return Symbols(self.size)

    @cached_property
    def row(self) -> Tensor:
        """[size] int64: the row of every id; the last one is that of all which are not kept."""
        if self.kept is None:
            return torch.arange(self.size)
        row = torch.full((self.size,), len(self.kept))
        row[list(self.kept)] = torch.arange(len(self.kept))
        return row

    @cached_property
    def weight(self) -> Tensor:
        """[rows] float32: the logarithm of how many ids a row stands for, to be added to its logit."""
        return self.row.bincount(minlength=self.rows).clamp(min=1).log()

    def expanded(self, model: Whisper) -> Whisper:
        """The full model that computes the same probabilities, with copies of the weights, in evaluation mode."""
        full = Whisper(replace(model.config, vocabulary=self.size))
        state = model.state_dict()
        state["decoder.embed.weight"] = state["decoder.embed.weight"][self.row.to(model.decoder.embed.weight.device)]
        full.load_state_dict(state)
        return full.eval()


def learn_tokenizer(texts: Iterable[str], pieces: int, path: Path) -> None:
    """Learn byte pairs from texts and write them as the `tokenizer.json` of an English Whisper.

    pieces: of text, the 256 bytes included. The ids that are left over have names of their own which no text yields.
    Every word is given as it stands within a sentence, with a space before it.
    """
    library = Library(BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(  # type: ignore[call-arg]  # its stub knows none of the arguments
        vocab_size=pieces, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    library.train_from_iterator((f" {text}" for text in texts if text), trainer)
    tree = json.loads(library.to_str())
    vocabulary = tree["model"]["vocab"]
    vocabulary |= {f"<|reserved-{i}|>": i for i in range(len(vocabulary), Symbols(ENGLISH).end)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree, ensure_ascii=False), encoding="utf-8")


def used(tokenizer: WhisperTokenizer, texts: Iterable[str]) -> Vocabulary:
    """The vocabulary that keeps the ids which occur in texts, those of every prompt in English, and the end."""
    symbols = tokenizer.symbols
    words = {word for text in texts for word in text.split()}
    ids = {token for word in words for token in tokenizer.encode(f" {word}")}
    return Vocabulary(symbols.vocabulary, tuple(sorted(ids | {*symbols.prompt(), symbols.end})))
