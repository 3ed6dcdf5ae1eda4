"""Stage `evaluate`: greedy word error rates of both heads at every look-ahead on the evaluation corpora."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import jiwer
import torch
from lhotse import MonoCut

from recipes.asr_small.dataset import padded
from recipes.asr_small.prepare import load_tokenizer
from recipes.asr_small.settings import Settings
from recipes.asr_small.weights import trained
from recipes.common.cache import AudioCache
from recipes.common.prepare import cache
from speech.asr.endpoint import EndpointConfig
from speech.asr.model import FastConformer
from speech.asr.recogniser import decoders
from speech.asr.tokenizer import Tokenizer
from speech.errors import SpeechError
from speech.streaming.frames import Frames

log = logging.getLogger(__name__)

Scores = dict[str, dict[str, dict[str, float]]]
"""Word error rate in percent by corpus, head and look-ahead in milliseconds."""


def evaluate(settings: Settings) -> None:
    """Score the trained model, print a table and write `scores.json` into the work folder.

    Whole signals are encoded at once: the streaming contract makes that equal to streaming. Raises SpeechError for a
    corpus without text.
    """
    model, position = trained(settings)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer, options = load_tokenizer(settings), settings.raw.evaluation
    scores: Scores = {}
    for name in settings.raw.data.evaluation:
        audio = cache(settings, name)
        cuts = sorted((cut for cut in audio.cuts() if cut.supervisions[0].text), key=lambda cut: cut.duration)
        if not cuts:
            raise SpeechError(f"expected utterances with text in {name}, found none: leave it out of data.evaluation")
        scores[name] = score(model, tokenizer, audio, cuts[:: options.every], options.seconds)
    (settings.work / "scores.json").write_text(json.dumps({**position, "wer": scores}, indent=1))
    print(table(scores), flush=True)


@torch.inference_mode()
def score(
    model: FastConformer, tokenizer: Tokenizer, audio: AudioCache, cuts: list[MonoCut], seconds: float
) -> dict[str, dict[str, float]]:
    """Word error rates by head and look-ahead; `seconds` of padded audio at a time. cuts: sorted by duration."""
    device = next(model.parameters()).device
    meant = [cut.supervisions[0].text or "" for cut in cuts]
    heads = decoders(model, EndpointConfig())
    result: dict[str, dict[str, float]] = {name: {} for name in heads}
    for ahead, context in model.config.look_aheads.items():
        said: dict[str, list[str]] = {name: [] for name in result}
        for part in batches(cuts, seconds):
            signals = [torch.from_numpy(audio.audio(cut)) for cut in part]
            lengths = torch.tensor([len(x) for x in signals], device=device)
            frames = model.pipeline(context)(Frames.whole(padded(signals).to(device), lengths))
            for name, decoder in heads.items():
                said[name] += [tokenizer.decode([token.id for token in row]) for row in decoder.decode(frames)]
        for name, texts in said.items():
            result[name][str(ahead)] = round(100 * jiwer.wer(meant, texts), 2)
    return result


def batches(cuts: list[MonoCut], seconds: float) -> Iterator[list[MonoCut]]:
    """Consecutive cuts whose padded length stays below `seconds` (one cut at least)."""
    part: list[MonoCut] = []
    for cut in cuts:
        if part and (len(part) + 1) * cut.duration > seconds:
            yield part
            part = []
        part.append(cut)
    if part:
        yield part


def table(scores: Scores) -> str:
    """Scores as a Markdown table: a row for each corpus and head, a column for each look-ahead."""
    aheads = sorted({ahead for heads in scores.values() for row in heads.values() for ahead in row}, key=int)
    lines = [
        "| WER % | head | " + " | ".join(f"{ahead} ms" for ahead in aheads) + " |",
        "|---" * (len(aheads) + 2) + "|",
    ]
    for corpus, heads in scores.items():
        lines += [
            f"| {corpus} | {head} | " + " | ".join(f"{row[ahead]:.1f}" for ahead in aheads) + " |"
            for head, row in heads.items()
        ]
    return "\n".join(lines)
