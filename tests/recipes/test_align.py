from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("lhotse", reason="the training extra is not installed")
pytest.importorskip("pocketsphinx", reason="the training extra is not installed")

from recipes.asr_small.align import align
from recipes.asr_small.settings import compose_settings
from recipes.common.corpora import read_corpus
from recipes.common.prepare import cache


def test_words_get_their_times_and_strange_words_none(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "librispeech_test_clean"
    row = json.loads((source / "manifest.jsonl").read_text().splitlines()[0])
    row["audio"] = str(source / row["audio"])
    rows = [row, {**row, "id": "strange", "text": f"{row['text']} QWZXX"}, {**row, "id": "mute", "text": ""}]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    settings = compose_settings(["data=folder", f"data.root={tmp_path}", f"work={tmp_path / 'work'}"])
    audio = cache(settings, ".")
    audio.build(lambda: read_corpus(tmp_path, "manifest"), manifest, 1)
    assert audio.word_times() == {}
    align(settings)
    times = audio.word_times()
    assert list(times) == [row["id"]]
    words = times[row["id"]]
    assert len(words) == len(row["text"].split())
    assert words[0][0] >= 0 and words[-1][1] <= row["duration"]
    assert all(a < b <= later for (a, b), (later, _) in pairwise(words))
    written = audio.words.stat().st_mtime_ns
    align(settings)
    assert audio.words.stat().st_mtime_ns == written  # nothing changed, nothing done
