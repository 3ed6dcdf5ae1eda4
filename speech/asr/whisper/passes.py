"""Passes of the decoder over the running texts of many streams, in as few calls as their lengths allow."""

from __future__ import annotations

import torch
from torch import Tensor

from speech.asr.whisper.beam import Beams, Chooser, Scores, Text
from speech.asr.whisper.decoder import Decoder
from speech.asr.whisper.rules import Rules
from speech.asr.whisper.tokenizer import Symbols
from speech.streaming.module import State


class Cache:
    """Keys and values of the n texts of each stream at work. tree: as the decoder keeps them; cells: [b, n], where.

    As a context it writes them back to where they came from: the state tree [slots, n, ...], rows `slots`.
    """

    def __init__(self, state: State, slots: Tensor) -> None:
        self.state, self.slots = state, slots
        self.texts = next(iter(state["0"].values())).shape[1]
        if self.texts == 1:
            self.cells = slots[:, None]
            self.tree = {i: {k: x[:, 0] for k, x in layer.items()} for i, layer in state.items()}
        else:
            self.cells = torch.arange(len(slots) * self.texts, device=slots.device).view(-1, self.texts)
            self.tree = {i: {k: x[slots].flatten(0, 1) for k, x in layer.items()} for i, layer in state.items()}

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        if self.texts > 1:
            for i, layer in self.tree.items():
                for k, x in layer.items():
                    self.state[i][k][self.slots] = x.unflatten(0, (-1, self.texts))

    def reorder(self, sources: dict[int, list[int]]) -> None:
        """Let the texts of streams, by their place among those at work, have what the texts had that they come from."""
        moved = [(r, j, source) for r, order in sources.items() for j, source in enumerate(order) if j != source]
        if moved:
            r, j, source = torch.tensor(moved, device=self.cells.device).T
            for layer in self.tree.values():
                for x in layer.values():
                    x[self.cells[r, j]] = x[self.cells[r, source]]


def likelihoods(logits: Tensor, symbols: Symbols) -> Tensor:
    """Probabilities of the languages by the logits behind the start alone (Radford et al. 2022, section 2.3).

    [..., vocabulary] -> [..., languages], in the order of `Symbols.languages`.
    """
    first = symbols.start + 1
    return logits[..., first : first + len(symbols.languages)].softmax(-1)


class Passes:
    """The decoder at work on some streams: `rows` [b] of `memory`. chooser: whose candidates are told."""

    def __init__(
        self, decoder: Decoder, rules: Rules, memory: State, rows: Tensor, cache: Cache, chooser: Chooser
    ) -> None:
        self.decoder, self.rules, self.memory, self.rows = decoder, rules, memory, rows
        self.cache, self.chooser = cache, chooser

    def find_out(self, streams: dict[int, Beams]) -> None:
        """Find out what is spoken in streams, by their place among those at work, whose texts wait for it unfed."""
        symbols, cells = self.rules.symbols, self.cache.cells[list(streams), 0]
        ids = torch.full_like(cells, symbols.start)[:, None]
        rows = self.rows[list(streams)]
        logits = self.decoder.step(ids, torch.zeros_like(cells), self.cache.tree, cells, self.memory, rows)
        best = likelihoods(logits[:, -1], symbols).argmax(-1).tolist()
        for beams, code in zip(streams.values(), (symbols.languages[i] for i in best), strict=True):
            beams.speak(code, symbols.language(code))

    def __call__(self, streams: dict[int, Beams]) -> dict[int, list[Scores]]:
        """Feed what was not fed of the texts of streams, by their place among those at work; returns their scores."""
        groups: dict[tuple[int, int], list[int]] = {}
        for r, beams in streams.items():
            beams.width = max(len(text.ids) for text in beams.texts)
            fed = max(len(text.ids) - text.fed for text in beams.texts)
            groups.setdefault((fed, min(beams.asked, fed)), []).append(r)
        scores: dict[int, list[Scores]] = {}
        for (fed, asked), members in groups.items():
            scores |= self._fed({r: streams[r] for r in members}, fed, asked)
        return scores

    def _fed(self, streams: dict[int, Beams], fed: int, asked: int) -> dict[int, list[Scores]]:
        """Feed `fed` last ids of each text and score the last `asked` places."""
        rows = list(streams)
        texts = [text for beams in streams.values() for text in beams.texts]
        ids = torch.tensor([([0] * fed + text.ids)[-fed:] for text in texts], device=self.rows.device)
        start = torch.tensor([len(text.ids) - fed for text in texts], device=self.rows.device)
        cells = self.cache.cells[rows].flatten()
        logits = self.decoder.step(ids, start, self.cache.tree, cells, self.memory, self.rows[rows], asked)
        self._hear_silence(streams, logits)
        self.rules(logits, [self._written(text) for text in texts])
        best = self.chooser.candidates(logits)
        values = logits[:, -best.shape[1] :].gather(-1, best).tolist()
        own = logits[:, :-1].gather(-1, ids[:, fed - asked + 1 :, None])[..., 0].tolist()
        total = logits.logsumexp(-1).tolist()
        scored = zip(texts, own, total, best.tolist(), values, strict=True)
        told = [Scores(len(text.ids), *parts) for text, *parts in scored]
        for text in texts:
            text.fed = len(text.ids)
        for beams in streams.values():
            beams.asked = 1
        n = self.cache.texts
        return {r: told[i * n : (i + 1) * n] for i, r in enumerate(rows)}

    def _written(self, text: Text) -> list[int]:
        """The ids behind the symbols that open a transcript: after a prefix, which is text, it may end at once."""
        symbols = self.rules.symbols
        opened = text.ids.index(symbols.start) + (3 if symbols.multilingual else 1) + (not self.rules.times)
        return text.ids[opened:]

    def _hear_silence(self, streams: dict[int, Beams], logits: Tensor) -> None:
        """Note the probability of silence where the place behind the start of the transcript is scored."""
        symbols, n = self.rules.symbols, self.cache.texts
        for i, beams in enumerate(streams.values()):
            back = len(beams.texts[0].ids) - beams.texts[0].ids.index(symbols.start)
            if back <= logits.shape[1]:
                beams.no_speech = float(logits[i * n, -back].softmax(-1)[symbols.no_speech])
