"""Stage `align`: when every phone was spoken, by forced alignment with pocketsphinx (Huggins-Daines et al. 2006).

Two passes: the first aligns words, and so chooses among pronunciations and finds the pauses; the second aligns the
phones of the first, each as a word of its own. (pocketsphinx's own search for phones inside words fails on two
utterances of five.)
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from lhotse import MonoCut

from recipes.common.cache import RATE, AudioCache
from recipes.common.prepare import cache
from recipes.tts_small.settings import Settings
from recipes.tts_small.tracks import FRAME, PHONES, SILENCE, Phones, fresh, phones_path, save_phones, unstressed
from speech.tts.text.inventory import VOWELS
from speech.tts.text.lexicon import Lexicon

log = logging.getLogger(__name__)

PART = 100  # utterances that one process takes at a time: decoders are made for each part
PADDING = 20  # frames of silence at both ends, which the aligner wants to begin and end in
WORD = "phone-"  # begins the names of phones in the dictionary of the second pass


def align(settings: Settings) -> None:
    """Write phones beside the decoded audio of every training corpus; what is newer than the audio is kept.

    Utterances that cannot be aligned are left out.
    """
    for name in sorted(settings.raw.data.train, key=lambda name: name not in settings.raw.data.reading):
        audio = cache(settings, name)
        cuts = audio.cuts()
        if fresh(phones_path(audio), audio):
            continue
        parts = [cuts[i : i + PART] for i in range(0, len(cuts), PART)]
        with ProcessPoolExecutor(settings.raw.trainer.workers or 1) as pool:
            rows = [row for part in pool.map(align_part, [audio] * len(parts), parts) for row in part]
        save_phones(audio, rows)
        log.info("%s: %d of %d utterances aligned", name, sum(row is not None for row in rows), len(rows))


def align_part(audio: AudioCache, cuts: list[MonoCut]) -> list[Phones | None]:
    """Phones of every utterance, None where it cannot be aligned."""
    aligner = Aligner()
    return [aligner(audio.audio(cut), cut.supervisions[0].text or "") for cut in cuts]


class Aligner:
    """A decoder for words and one for phones. Words that pocketsphinx's dictionary lacks are said as by our lexicon."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder

        self.lexicon = Lexicon()
        self.words = Decoder(samprate=RATE, lm=None, loglevel="FATAL")
        self.phones = Decoder(samprate=RATE, lm=None, loglevel="FATAL", fsgusefiller=False)
        plain = list(dict.fromkeys(map(unstressed, PHONES)))
        for phone in plain:
            self.phones.add_word(WORD + phone, phone, phone == plain[-1])

    def __call__(self, samples: np.ndarray, text: str) -> Phones | None:
        """Phones of one utterance. samples: [n]; text: normalised."""
        count, words = len(samples) // FRAME, text.split()
        padded = np.pad(samples * 32768, PADDING * FRAME).astype(np.int16).tobytes()
        for word in words:
            if self.words.lookup_word(word) is None:
                self.words.add_word(word, " ".join(map(unstressed, self.lexicon.word(word))), True)
        sequence, owners = self._sequence(words, [name for name, *_ in _segments(self.words, padded, text)])
        wanted = [WORD + unstressed(phone) for phone in sequence]
        found = [s for s in _segments(self.phones, padded, " ".join(wanted)) if s[0] not in ("<s>", "</s>")]
        if not words or max(owners) + 1 != len(words) or [name for name, *_ in found] != wanted:
            return None
        edges = np.array([begin for _, begin, _ in found] + [found[-1][2] + 1]) - PADDING
        edges[0], edges[-1] = 0, count
        frames = np.diff(edges.clip(0, count))
        kept = frames > 0  # silence may lie in the padding alone
        ids = np.array([PHONES.index(phone) for phone in sequence])
        return Phones(ids[kept], frames[kept], np.array(owners)[kept])

    def _sequence(self, words: list[str], heard: list[str]) -> tuple[list[str], list[int]]:
        """The phones of what the first pass heard, between silences, and the word that each belongs to (or -1)."""
        sequence, owners, number = [SILENCE], [-1], 0
        for name in (*heard, SILENCE):
            if name == SILENCE or name.startswith(("<", "[")):  # <sil> and [NOISE]
                if sequence[-1] != SILENCE:
                    sequence, owners = [*sequence, SILENCE], [*owners, -1]
                continue
            spoken = self.words.lookup_word(name).split()  # a second pronunciation is marked as in "the(2)"
            sequence += stressed_as(spoken, self.lexicon.word(words[number]))
            owners += [number] * len(spoken)
            number += 1
        return sequence, owners


def stressed_as(spoken: Sequence[str], known: Sequence[str]) -> list[str]:
    """The stresses of a known pronunciation on the vowels of another; on its first vowel where they do not agree."""
    stresses = [phone[-1] for phone in known if phone[-1] in "012"]
    vowels = [i for i, phone in enumerate(spoken) if phone in VOWELS]
    if len(stresses) != len(vowels):
        stresses = ["1"] + ["0"] * len(vowels)
    marks = dict(zip(vowels, stresses, strict=False))
    return [phone + marks.get(i, "") for i, phone in enumerate(spoken)]


def _segments(decoder: Any, pcm: bytes, text: str) -> list[tuple[str, int, int]]:
    """(word, first frame, last frame) of an alignment; none where there is none."""
    try:
        decoder.set_align_text(text)
        decoder.start_utt()
        decoder.process_raw(pcm, full_utt=True)
        decoder.end_utt()
        return [(s.word, s.start_frame, s.end_frame) for s in decoder.seg() or ()]
    except RuntimeError:  # text that does not fit the sound
        return []
