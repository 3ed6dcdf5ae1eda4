from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest

from speech.asr.events import Segment, Transcript, Word
from speech.asr.formats import FORMATS, LINE, LONGEST, captions, write
from speech.errors import SpeechError


def segment(text: str, start: float = 0.0, pace: float = 0.4) -> Segment:
    words = tuple(
        Word(w, round(start + pace * i, 3), round(start + pace * (i + 1), 3), 0.9) for i, w in enumerate(text.split())
    )
    return Segment(text, words, words[0].start, words[-1].end, 0.9)


SHORT = Transcript((segment("hello <there> & you", 1.0), segment("bye", 3661.5)), 3700.0)
LONG = Transcript((segment("the quick brown fox jumps over the lazy dog again and " * 8, pace=0.25),), 30.0)


def test_text_is_a_line_a_segment() -> None:
    assert write(SHORT, "text") == "hello <there> & you\nbye\n"
    assert write(Transcript((), 1.0), "text") == ""


def test_json_is_the_transcript() -> None:
    assert json.loads(write(SHORT, "json"))["segments"][0]["words"][1]["text"] == "<there>"


def test_srt_numbers_cues_and_writes_commas() -> None:
    assert write(SHORT, "srt") == (
        "1\n00:00:01,000 --> 00:00:02,600\nhello <there> & you\n\n2\n01:01:01,500 --> 01:01:02,500\nbye\n"
    )
    assert write(Transcript((), 1.0), "srt") == ""


def test_vtt_has_a_header_and_escapes_markup() -> None:
    assert write(SHORT, "vtt") == (
        "WEBVTT\n\n00:00:01.000 --> 00:00:02.600\nhello &lt;there&gt; &amp; you\n\n01:01:01.500 --> 01:01:02.500\nbye\n"
    )
    assert write(Transcript((), 1.0), "vtt") == "WEBVTT\n"


def test_captions_are_short_do_not_overlap_and_lose_no_word() -> None:
    cues = captions(LONG)
    assert " ".join(lines.replace("\n", " ") for _, _, lines in cues) == LONG.text.strip()
    for start, end, lines in cues:
        assert 0 < end - start <= LONGEST
        assert lines.count("\n") < 2 and all(len(line) <= LINE for line in lines.split("\n"))
    assert all(a[1] <= b[0] for a, b in pairwise(cues))
    assert len(re.findall(r"-->", write(LONG, "srt"))) == len(cues) > 3


def test_a_word_longer_than_a_line_stands_alone() -> None:
    cues = captions(Transcript((segment("a " + "x" * 60 + " b"),), 5.0))
    assert [lines.split("\n") for _, _, lines in cues] == [["a", "x" * 60], ["b"]]


def test_an_unknown_format_lists_the_known() -> None:
    with pytest.raises(SpeechError, match="text, json, srt, vtt"):
        write(SHORT, "docx")
    assert set(FORMATS) == {"text", "json", "srt", "vtt"}
