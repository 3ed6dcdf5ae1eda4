"""Text as if it had come before: what decoders are told, of live streams and of recordings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import Tensor

from speech.asr.whisper.recogniser import WhisperRecogniser
from tests.asr.whisper.small import SYMBOLS, babble
from tests.asr.whisper.test_whisper_stream import finals, run, said

RATE = 16000
PROMPT = "Ada, Grace"


@pytest.mark.parametrize("kind", ["babbler", "babbling_windows"])
@pytest.mark.parametrize("live", [True, False])
def test_it_opens_the_text(
    kind: str, live: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every utterance of a causal model; where text came before, it stands between the prompt and what follows."""
    recogniser: WhisperRecogniser = request.getfixturevalue(kind)
    told: list[list[int]] = []
    step = recogniser.model.decoder.step

    def spied(ids: Tensor, start: Tensor, *rest: Any) -> Tensor:
        told.extend(row.tolist() for row, at in zip(ids, start, strict=True) if at == 0 and ids.shape[1] > 1)
        return step(ids, start, *rest)

    monkeypatch.setattr(recogniser.model.decoder, "step", spied)
    pcm = np.concatenate([babble(10), np.zeros(RATE, np.float32), babble(10, 1)])
    asked: dict[str, Any] = {"language": "en", "prompt": f" {PROMPT}\n"}
    if live:
        ended = len(finals(run(recogniser.stream(RATE, **asked), pcm)))
    else:
        ended = len(recogniser.transcribe(pcm, RATE, **asked).segments)
    before = [SYMBOLS.start_of_previous, *recogniser.tokenizer.encode(f" {PROMPT}")]
    opening = SYMBOLS.prompt("en", times=not live and not recogniser.causal)
    assert told and ended
    assert all(row[: len(before)] == before for row in told)
    assert told[0][len(before) :] == opening
    if recogniser.causal:
        assert ended > 1 and len(told) >= ended
        assert all(row[len(before) :][: len(opening)] == opening for row in told)


def test_what_is_said_hangs_on_it(babbler: WhisperRecogniser) -> None:
    pcm = babble(16)
    plain, empty, prompted = (
        said(run(babbler.stream(RATE, language="en", prompt=text), pcm)) for text in (None, "  ", PROMPT)
    )
    assert plain == empty != prompted
    own = WhisperRecogniser(babbler.model, babbler.tokenizer, endpoint=babbler.endpoint, prompt=PROMPT)
    assert own.request.prompt == tuple(babbler.tokenizer.encode(f" {PROMPT}"))


def test_a_long_one_keeps_its_end(babbler: WhisperRecogniser) -> None:
    pcm, words = babble(8), "ab " * 300
    long, short = (said(run(babbler.stream(RATE, language="en", prompt=p), pcm)) for p in (words, words[-90:]))
    room = babbler.model.config.tokens // 2 - 1
    assert len(babbler.tokenizer.encode(f" {words[-90:].strip()}")) > room
    assert long == short
