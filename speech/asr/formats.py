"""A transcript as text, JSON, SubRip or WebVTT."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from speech.asr.events import Segment, Transcript, Word
from speech.errors import SpeechError

LINE = 42  # characters of a caption line, and two lines a caption: the usual rule of broadcasters
LONGEST = 7.0  # seconds a caption stays at most
SHORTEST = 1.0  # seconds a caption stays at least, where the next one leaves the time


def write(transcript: Transcript, form: str) -> str:
    """The transcript as "text", "json", "srt" or "vtt". Raises SpeechError for any other form."""
    if form not in FORMATS:
        raise SpeechError(f"expected one of the formats {', '.join(FORMATS)}, got {form!r}: choose one of these")
    return FORMATS[form](transcript)


def text(transcript: Transcript) -> str:
    """One line a segment."""
    return "".join(f"{segment.text}\n" for segment in transcript.segments)


def to_json(transcript: Transcript) -> str:
    """`Transcript.to_dict()`, indented."""
    return json.dumps(transcript.to_dict(), ensure_ascii=False, indent=2) + "\n"


def srt(transcript: Transcript) -> str:
    """SubRip captions."""
    return "\n".join(
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{lines}\n"
        for number, (start, end, lines) in enumerate(captions(transcript), 1)
    )


def vtt(transcript: Transcript) -> str:
    """WebVTT captions (W3C)."""
    cues = (
        f"\n{_clock(start, '.')} --> {_clock(end, '.')}\n{_escape(lines)}\n"
        for start, end, lines in captions(transcript)
    )
    return "WEBVTT\n" + "".join(cues)


def captions(transcript: Transcript) -> list[tuple[float, float, str]]:
    """(start, end, lines) in seconds: at most two lines and 7 s each, at least 1 s where the next leaves the time."""
    groups = [group for segment in transcript.segments for group in _captions_of(segment)]
    out = []
    for i, group in enumerate(groups):
        start, end = group[0].start, max(group[-1].end, group[0].start + SHORTEST)
        following = groups[i + 1][0].start if i + 1 < len(groups) else end
        out.append((start, max(start, min(end, following)), "\n".join(_lines(group))))
    return out


def _captions_of(segment: Segment) -> Iterator[list[Word]]:
    group: list[Word] = []
    for word in segment.words:
        if group and (len(_lines([*group, word])) > 2 or word.end - group[0].start > LONGEST):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _lines(words: list[Word]) -> list[str]:
    """Lines of at most `LINE` characters; a longer word has a line of its own."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word.text) <= LINE:
            lines[-1] += f" {word.text}"
        else:
            lines.append(word.text)
    return lines


def _clock(seconds: float, point: str) -> str:
    """hh:mm:ss and milliseconds after `point`."""
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"


def _escape(lines: str) -> str:
    return lines.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


FORMATS: dict[str, Callable[[Transcript], str]] = {"text": text, "json": to_json, "srt": srt, "vtt": vtt}
