"""Stage `align`: when every word was spoken, by forced alignment under the CTC head of a recogniser of ours."""

from __future__ import annotations

import json
import logging

import torch
from lhotse import MonoCut

import speech
from recipes.causal_whisper.forced import best_path, spans
from recipes.causal_whisper.settings import AlignConfig, WhisperSettings
from recipes.common.cache import AudioCache, Words
from recipes.common.prepare import cache
from speech.asr.recogniser import Recogniser
from speech.errors import SpeechError
from speech.streaming.frames import Frames

log = logging.getLogger(__name__)


def align(settings: WhisperSettings) -> None:
    """Write word times beside the decoded audio of every corpus; what is newer than the audio is kept.

    Utterances that cannot be aligned are left out. Raises SpeechError for a recogniser without a CTC head.
    """
    aligner = None
    for name in (*settings.raw.data.train, *settings.raw.data.evaluation):
        audio = cache(settings, name)
        cuts = audio.cuts()
        if audio.words.is_file() and audio.words.stat().st_mtime >= audio.index.stat().st_mtime:
            continue
        aligner = aligner or Aligner(settings.align)
        rows = {cut.id: aligner(audio, cut) for cut in cuts}
        found: Words = {name: words for name, words in rows.items() if words}
        partial = audio.words.with_suffix(".partial")
        partial.write_text(json.dumps(found))
        partial.rename(audio.words)
        log.info("%s: %d of %d utterances aligned", name, len(found), len(cuts))


class Aligner:
    """A recogniser that is told what was said. It hears all the look-ahead that it knows."""

    def __init__(self, config: AlignConfig) -> None:
        recogniser = speech.load(config.recogniser)
        if not isinstance(recogniser, Recogniser) or recogniser.model.ctc is None:
            raise SpeechError(f"expected align.recogniser to name a model with a CTC head, got {config.recogniser}")
        self.model, self.tokenizer, self.late = recogniser.model, recogniser.tokenizer, config.late
        self.ctc = recogniser.model.ctc
        aheads = self.model.config.look_aheads
        self.pipeline = self.model.pipeline(aheads[max(aheads)])

    @torch.inference_mode()
    def __call__(self, audio: AudioCache, cut: MonoCut) -> list[tuple[float, float]]:
        """Begin and end of every word in seconds; none where the text does not fit."""
        samples = torch.from_numpy(audio.audio(cut)).to(next(self.model.parameters()).device)
        words = [self.tokenizer.encode(word) for word in (cut.supervisions[0].text or "").split()]
        tokens = [token for word in words for token in word]
        if not tokens or not len(samples):
            return []
        scores = self.ctc(self.pipeline(Frames.whole(samples[None])).data)[0].cpu().numpy()
        path = best_path(scores, tokens, len(self.tokenizer))
        if path is None:
            return []
        edges = spans(path, len(tokens)) * self.model.config.frame - self.late
        edges = edges.clip(0, len(samples) / self.model.config.mel.sample_rate).round(3)
        result, first = [], 0
        for word in words:
            result.append((float(edges[first, 0]), float(edges[first + len(word) - 1, 1])))
            first += len(word)
        return result
