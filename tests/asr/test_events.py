from __future__ import annotations

import dataclasses
import json

import pytest

from speech.asr.events import Final, Partial, Segment, SpeechEnd, SpeechStart, Transcript, Word

WORDS = (Word("hello", 0.4, 0.8, 0.9), Word("there", 0.8, 1.2, 0.8))


def test_events_are_plain_data_that_names_its_kind() -> None:
    final = Final("hello there", WORDS, 0.4, 1.2, 0.85)
    assert final.to_dict() == {
        "type": "final",
        "text": "hello there",
        "words": (WORDS[0].to_dict(), WORDS[1].to_dict()),
        "start": 0.4,
        "end": 1.2,
        "confidence": 0.85,
    }
    assert Partial("hello th", 5, 0.4, 1.0).to_dict() == {
        "type": "partial",
        "text": "hello th",
        "stable": 5,
        "start": 0.4,
        "end": 1.0,
    }
    assert SpeechStart(0.4).to_dict() == {"type": "speech_start", "time": 0.4}
    assert SpeechEnd(1.2).to_dict() == {"type": "speech_end", "time": 1.2}
    json.dumps([final.to_dict()])


def test_events_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SpeechStart(0.4).time = 1.0  # type: ignore[misc]


def test_a_transcript_is_its_segments() -> None:
    segment = Segment("hello there", WORDS, 0.4, 1.2, 0.85)
    transcript = Transcript((segment, segment), 3.5)
    assert transcript.text == "hello there hello there"
    assert transcript.words == WORDS + WORDS
    told = json.loads(json.dumps(transcript.to_dict()))
    assert told["duration"] == 3.5 and told["segments"][1]["words"][1]["text"] == "there"
    assert "type" not in told["segments"][0]
    assert Transcript((), 0.0).to_dict() == {"text": "", "duration": 0.0, "segments": []}
