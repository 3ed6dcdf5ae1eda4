"""Known texts and their sound: the bundled recogniser on the demo, and what cannot be aligned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import speech
from speech.asr.alignment import Alignment
from speech.asr.model import FastConformer, FastConformerConfig
from speech.asr.recogniser import Recogniser
from speech.asr.tokenizer import SentencePiece
from speech.audio.file import read
from speech.errors import SpeechError
from speech.streaming.lane import alone
from tests.asr.small import noise
from tests.conftest import ROOT

RATE = 16000
DEMO, TEXT = ROOT / "demo/demo.flac", (ROOT / "demo/demo.txt").read_text()


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return speech.load("asr", "cpu")


@pytest.fixture(scope="module")
def whole(recogniser: Recogniser) -> speech.Transcript:
    return recogniser.align(DEMO, TEXT)


def test_lines_are_segments_and_words_stay_as_they_are_written(whole: speech.Transcript) -> None:
    assert [segment.text for segment in whole.segments] == TEXT.splitlines()
    times = [time for word in whole.words for time in (word.start, word.end)]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= whole.duration == read(DEMO).seconds
    assert all(0 < word.confidence < 1 for word in whole.words)
    assert all((s.start, s.end) == (s.words[0].start, s.words[-1].end) and 0 < s.confidence < 1 for s in whole.segments)


def test_what_greedy_decoding_says_is_where_it_says_it(recogniser: Recogniser) -> None:
    said = recogniser.transcribe(DEMO, decoder="ctc", look_ahead=max(recogniser.look_aheads))
    found, late = recogniser.align(DEMO, said.text), recogniser.model.config.ctc_delay
    assert late > 0 and [word.text for word in found.words] == [word.text for word in said.words]
    same = [abs(max(b.start - late, 0) - a.start) < 1e-3 for a, b in zip(found.words, said.words, strict=True)]
    assert np.mean(same) > 0.9  # a word may be spelt in more ways than one


def test_a_text_that_is_not_said_is_less_sure(recogniser: Recogniser, whole: speech.Transcript) -> None:
    other = recogniser.align(DEMO, " ".join(reversed(TEXT.split())))
    assert np.mean([w.confidence for w in other.words]) < 0.7 * np.mean([w.confidence for w in whole.words])


def test_a_word_that_cannot_be_spelt_lies_between_its_neighbours(
    recogniser: Recogniser, whole: speech.Transcript
) -> None:
    words = TEXT.replace("welcome", "50%").split()
    found = recogniser.align(DEMO, " ".join(words)).words
    at = words.index("50%")
    assert found[at].text == "50%" and found[at].confidence == 0
    assert found[at - 1].end <= found[at].start < found[at].end <= found[at + 1].start
    assert min(found[at].end, whole.words[at].end) - max(found[at].start, whole.words[at].start) > 0.1
    others = [abs(a.start - b.start) < 0.1 for a, b in zip(found, whole.words, strict=True)]
    assert sum(others) >= len(words) - 3


def test_of_live_sound_utterances_are_told_once_they_are_over(recogniser: Recogniser, whole: speech.Transcript) -> None:
    samples = read(DEMO, 24000).samples  # the text is ahead of it by a line
    alignment, lines, told = Alignment(recogniser.aligner, 24000), TEXT.splitlines(), []
    lateness = []
    for _ in range(2):
        alignment.expect(lines.pop(0).split())
    for start in range(0, len(samples), 7001):
        alone(alignment.hearing(samples[start : start + 7001]))
        for segment in alignment.settled():
            told.append(segment)
            lateness.append(alignment.duration - segment.end)
            if lines:
                alignment.expect(lines.pop(0).split())
    assert len(told) == 3 and max(lateness) < 4.0
    told += alone(alignment.ending())
    assert [segment.text for segment in told] == TEXT.splitlines()
    words = [word for segment in told for word in segment.words]
    off = [abs(a.start - b.start) for a, b in zip(words, whole.words, strict=True)]
    assert np.median(off) < 0.05 and max(off) < 0.5
    alignment.reset()
    assert alone(alignment.ending()) == []


def test_an_array_at_another_rate_and_progress(recogniser: Recogniser, whole: speech.Transcript) -> None:
    seen: list[float] = []
    audio = read(DEMO, 22050)
    found = recogniser.align((audio.samples * 32767).astype(np.int16), TEXT, 22050, progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == pytest.approx(whole.duration, abs=0.01)
    assert np.median([abs(a.start - b.start) for a, b in zip(found.words, whole.words, strict=True)]) < 0.01


@pytest.mark.parametrize(
    ("samples", "text", "says"),
    [
        (noise(1.0), "", "expected text that the model can spell, got none"),
        (noise(1.0), " \n\t\n", "got none"),
        (noise(1.0), "42 \u65e5\u672c &", "got words in other letters or in digits only"),
        (noise(1.0), "the cat sat " * 50, "expected a text that can be said in 1.0 s, got 150 words"),
        (noise(1.0)[:0], "the cat", "expected speech, got 0.0 s"),
        (np.zeros(RATE, np.int16), "the cat", "expected speech, got 1.0 s in which no sample is above -60 dB"),
        (1e-4 * noise(1.0), "the cat", "no sample is above -60 dB"),
        (noise(1.0).tolist(), "the cat", "numpy array"),
    ],
)
def test_what_cannot_be_aligned_is_one_sentence(
    model: FastConformer, tokenizer: SentencePiece, samples: np.ndarray, text: str, says: str
) -> None:
    with pytest.raises(SpeechError, match=says):
        Recogniser(model, tokenizer).align(samples, text, RATE)


def test_a_model_without_a_ctc_head_and_files_that_are_no_good(
    model: FastConformer, tokenizer: SentencePiece, tmp_path: Path
) -> None:
    config = FastConformerConfig(encoder=model.config.encoder, vocabulary=model.config.vocabulary, ctc=False)
    with pytest.raises(SpeechError, match="a model with a CTC head"):
        Recogniser(FastConformer(config), tokenizer).align(noise(1.0), "the cat", RATE)
    recogniser = Recogniser(model, tokenizer)
    with pytest.raises(SpeechError, match=r"no\.wav"):
        recogniser.align(tmp_path / "no.wav", "the cat")
    cut = tmp_path / "cut.flac"
    cut.write_bytes(DEMO.read_bytes()[:20000])
    with pytest.raises(SpeechError, match=r"cut\.flac"):
        recogniser.align(cut, "the cat")
