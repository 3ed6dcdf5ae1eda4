"""Words that are known and words that are found, in a tiny run."""

from __future__ import annotations

import json

import pytest

from benchmarks.run import main
from speech.errors import SpeechError


def test_words_are_found_where_they_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["word-times", "--smoke", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = {(row["case"], row["metric"]): row["value"] for row in rows}
    for case in ("whole", "live"):
        assert 0 < found[case, "apart median"] <= found[case, "apart 90 %"] < 250
    assert {row["repeats"] for row in rows if row["unit"] == "ms"} == {2 * 16}
    assert 0 < found["live", "told after a sentence's end, median"] < 4


def test_an_aligner_must_align() -> None:
    with pytest.raises(SpeechError, match="expected a recogniser, vc is a converter"):
        main(["word-times", "--smoke", "--aligner", "vc"])
