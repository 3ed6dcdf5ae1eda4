"""What the containers of sound files tell beside what libsndfile says of them: lengths, cuts, and pipes."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import soundfile

SLACK, MP3_SLACK = 0.05, 0.2  # seconds by which a file may be shorter than its header says; MP3 counts in frames
ENDLESS = 0x7FFFF000  # bytes: programs that write into a pipe state so many or more (SoX and eSpeak NG exactly these)
OPEN = b"\xff\xff\xff\xff"  # as the length of a WAV file: not known
PAGE = 65307  # bytes of an Ogg page at most (RFC 3533)
HEADER = 1 << 16  # bytes in which the samples of a WAV file usually begin
WHOLE = re.compile(rb"fLaC|ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]|caff|riff|RF64", re.DOTALL)
"""How files begin that libsndfile must be able to go back in: FLAC, MP3, CAF, W64, RF64."""


def stated_length(file: soundfile.SoundFile) -> int:
    """Samples a channel that the header promises, 0 where it leaves that open.

    libsndfile corrects the length of a file that ends early, and says so only in its log. Of an MP3 file without a Xing
    header it guesses the length from the bitrate of the first frame, and calls that bitrate constant.
    """
    if file.format == "MP3" and re.search(r"^\s*bitrate mode\s*: constant", file.extra_info, re.MULTILINE):
        return 0
    sizes = re.search(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    if sizes is None:
        return file.frames
    stated, there = int(sizes[1]), int(sizes[2])
    return round(file.frames * stated / there) if there and 0 < stated < ENDLESS else 0


def slack(file: soundfile.SoundFile) -> float:
    """Seconds by which less than `stated_length` may come."""
    return MP3_SLACK if file.format == "MP3" else SLACK


def ends_within_a_page(path: str | os.PathLike[str]) -> bool:
    """Whether an Ogg file, which states no length, stops before its last page (RFC 3533, section 6) is complete."""
    with Path(path).open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - PAGE))
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if not page.startswith(b"OggS"):
        return False
    lacing = page[27 : 27 + page[26]] if len(page) > 26 else b""
    return len(page) < 27 or len(lacing) < page[26] or len(page) < 27 + len(lacing) + sum(lacing)


def unclosed(file: soundfile.SoundFile) -> bool:
    """Whether the header says that there are no samples, as it does where a WAV file was never completed."""
    return file.frames == 0 and file.format in ("WAV", "WAVEX")


def forwarded(source: int) -> int:
    """A descriptor from which libsndfile can decode what comes from `source`, which this owns from now on.

    WAV, AIFF, AU and Ogg go through a pipe as they come, WAV with a length that is left open if its header states 0
    bytes; kinds that are not decoded in one direction are kept in a temporary file until they are complete.
    """
    head = _up_to(source, b"", 4)
    if WHOLE.match(head):
        with tempfile.TemporaryFile() as kept, os.fdopen(source, "rb") as rest:
            kept.write(head)
            shutil.copyfileobj(rest, kept)
            kept.seek(0)
            return os.dup(kept.fileno())
    if head == b"RIFF":
        head = _opened(source, head)
    out, into = os.pipe()
    threading.Thread(target=_pass_on, args=(head, source, into), name="pipe", daemon=True).start()
    return out


def _opened(source: int, head: bytes) -> bytes:
    """The header of a WAV file; where it says that 0 bytes of samples follow, with a length that is left open."""
    at = 12
    while at < HEADER:
        head = _up_to(source, head, at + 8)
        kind, size = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        if kind == b"data" or len(head) < at + 8:
            return head[:4] + OPEN + head[8 : at + 4] + OPEN + head[at + 8 :] if kind and not size else head
        at += 8 + size + size % 2
    return head


def _up_to(source: int, head: bytes, size: int) -> bytes:
    """`head` and what follows it, `size` bytes in all if there are as many."""
    while len(head) < size and (more := os.read(source, size - len(head))):
        head += more
    return head


def _pass_on(head: bytes, source: int, into: int) -> None:
    """Write `head` and all that comes from `source`, until that ends or nobody reads any more."""
    with suppress(BrokenPipeError), os.fdopen(source, "rb", buffering=0) as rest, os.fdopen(into, "wb") as sink:
        while head:
            sink.write(head)
            sink.flush()
            head = rest.read(1 << 16)
