"""Stage `evaluate`: the model before and after fine-tuning, of whole utterances and streaming, at one chunk size."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recipes.asr_small.dataset import padded
from recipes.causal_whisper.data import FRAME, Utterance, aligned
from recipes.causal_whisper.scoring import Partial, Tally
from recipes.causal_whisper.settings import EvaluationConfig, WhisperSettings
from recipes.causal_whisper.vocabulary import Vocabulary
from recipes.causal_whisper.weights import causal, plain, tuned
from recipes.common.cache import RATE
from recipes.common.text import normalise
from speech.asr.whisper.config import Context
from speech.asr.whisper.model import Whisper
from speech.asr.whisper.search import Request, Search
from speech.asr.whisper.tokenizer import WhisperTokenizer
from speech.errors import SpeechError
from speech.streaming.frames import Frames, Place

log = logging.getLogger(__name__)

Scores = dict[str, dict[str, dict[str, Any]]]
"""By corpus and model ("before", "after") what `Tally.scores` says."""


class Judged(NamedTuple):
    """A model as it writes whole utterances, and as it streams: not the same one before it is fine-tuned."""

    whole: Whisper
    window: float
    streaming: Whisper


def evaluate(settings: WhisperSettings) -> None:
    """Score both models on the evaluation corpora, print a table and write `scores.json` into the work folder.

    A line is added to `curve.jsonl`, so that training and evaluating in turns gives scores by steps. Utterances whose
    words could not be timed are left out, and those that are longer than the models were trained for.
    """
    options, vocabulary = settings.evaluation, Vocabulary.read(settings.vocabulary)
    tokenizer = WhisperTokenizer.load(settings.tokenizer, vocabulary.symbols)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    models, position = judged(settings, vocabulary, device)
    context = models["after"].streaming.config.context(options.chunk)
    scores: Scores = {}
    for name in settings.raw.data.evaluation:
        rows = [row for row in aligned(settings, tokenizer, name) if row.cut.duration <= options.longest]
        if not rows:
            raise SpeechError(
                f"expected utterances of {name} with word times of at most {options.longest} s, found none: run "
                "stage=align, or raise evaluation.longest"
            )
        rows = sorted(rows, key=lambda row: row.cut.duration)[:: options.every]
        scores[name] = {kind: score(model, tokenizer, rows, context, options) for kind, model in models.items()}
    result = {**position, "chunk_ms": context.milliseconds, "scores": scores}
    (settings.work / "scores.json").write_text(json.dumps(result, indent=1))
    with (settings.work / "curve.jsonl").open("a", encoding="utf-8") as curve:
        curve.write(json.dumps(result) + "\n")
    print(table(scores, context.milliseconds), flush=True)


def judged(settings: WhisperSettings, vocabulary: Vocabulary, device: str) -> tuple[dict[str, Judged], dict[str, Any]]:
    """The models with their full vocabulary, and what is known of the making of the second."""
    before, (after, position) = plain(settings)[0], tuned(settings)
    masked, after = (vocabulary.expanded(model).to(device) for model in (causal(settings, before), after))
    return {
        "before": Judged(vocabulary.expanded(before).to(device), settings.evaluation.window, masked),
        "after": Judged(after, 0.0, after),
    }, position


@torch.inference_mode()
def score(
    model: Judged,
    tokenizer: WhisperTokenizer,
    rows: Sequence[Utterance],
    context: Context,
    options: EvaluationConfig,
) -> dict[str, Any]:
    """`Tally.scores` of utterances, sorted by duration, `options.seconds` of padded audio at a time."""
    tally = Tally()
    for part in batches(rows, options.seconds):
        signals = [torch.from_numpy(row.audio.audio(row.cut)) for row in part]
        whole = written_at_once(model, signals, tokenizer, context)
        live = streamed(model, signals, tokenizer, context, options.renew)
        for row, said, partials in zip(part, whole, live, strict=True):
            tally.add((row.cut.supervisions[0].text or "").split(), row.times, said, partials)
    return tally.scores()


def batches(rows: Sequence[Utterance], seconds: float) -> Iterator[list[Utterance]]:
    """Consecutive utterances whose padded length stays below `seconds` (one at least)."""
    part: list[Utterance] = []
    for row in rows:
        if part and (len(part) + 1) * row.cut.duration > seconds:
            yield part
            part = []
        part.append(row)
    if part:
        yield part


def search_for(model: Whisper, tokenizer: WhisperTokenizer, renew: int | None = Request.renew) -> Search:
    """Greedy decoding. Nothing is suppressed: a stream in which nobody has spoken yet is to write nothing."""
    return Search(model.decoder, tokenizer.symbols, Request(suppress=(), renew=renew))


def written_at_once(
    model: Judged, signals: list[Tensor], tokenizer: WhisperTokenizer, context: Context
) -> list[list[str]]:
    """The words of whole utterances. Plain Whisper hears `window` seconds, in the context that it was trained for."""
    whole, config = model.whole, model.whole.config
    frames = encoded(whole, signals, context if context in config.contexts else config.contexts[0], model.window)
    return [words(tokenizer, said.ids) for said in search_for(whole, tokenizer).decode(frames)]


def streamed(
    model: Judged, signals: list[Tensor], tokenizer: WhisperTokenizer, context: Context, renew: int | None
) -> list[list[Partial]]:
    """What stands written after every chunk. renew: see `Request`.

    All is encoded at once, which the contract makes equal to streaming.
    """
    frames = encoded(model.streaming, signals, context)
    search, count = search_for(model.streaming, tokenizer, renew), len(signals)
    ahead = model.streaming.pipeline(context).look_ahead + 1 - FRAME  # samples after the span of a frame
    state = search.init_state(count, frames.data.device, frames.data.dtype)
    result: list[list[Partial]] = [[] for _ in signals]
    begin, opening = 0, max(context.initial, context.chunk)
    while begin < frames.place.count:
        end = max(opening, begin + context.chunk)
        rows = torch.nonzero(frames.lengths > begin)[:, 0]
        place = Place(torch.full_like(rows, begin), frames.lengths[rows], end - begin)
        data = torch.nn.functional.pad(frames.data[rows, begin:end], (0, 0, 0, max(end - frames.place.count, 0)))
        for row, said in zip(rows.tolist(), search.step(Frames(data, place), state, rows), strict=True):
            heard = min((end * FRAME + ahead) / RATE, len(signals[row]) / RATE)
            result[row].append(Partial(heard, words(tokenizer, said.ids)))
        begin = end
    return result


def encoded(model: Whisper, signals: list[Tensor], context: Context, window: float = 0.0) -> Frames:
    """Encoder frames of signals [n]. window: seconds to which silence fills them up."""
    device = model.decoder.embed.weight.device
    least = round(window * RATE)
    signals = [torch.nn.functional.pad(x, (0, max(least - len(x), 0))) for x in signals]
    lengths = torch.tensor([len(x) for x in signals], device=device)
    return model.pipeline(context)(Frames.whole(padded(signals).to(device), lengths))


def words(tokenizer: WhisperTokenizer, ids: Sequence[int]) -> list[str]:
    return normalise(tokenizer.decode(ids)).split()


def table(scores: Scores, chunk: int) -> str:
    """Scores as a Markdown table: a row for each corpus and model."""
    lines = [
        f"| {chunk} ms chunks | model | WER % whole | WER % streaming | ARWER % | delay ms, median | 95 % |",
        "|---" * 7 + "|",
    ]
    for corpus, models in scores.items():
        for kind, row in models.items():
            delay = row["delay_ms"] or {"median": "-", "p95": "-"}
            rates = " | ".join(f"{row[name]:.1f}" for name in ("whole", "streaming", "partial"))
            lines.append(f"| {corpus} | {kind} | {rates} | {delay['median']} | {delay['p95']} |")
    return "\n".join(lines)
