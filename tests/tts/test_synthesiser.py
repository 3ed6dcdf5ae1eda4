"""The synthesiser over small random networks: what is said does not depend on how text comes; bad text is told of."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.audio.file import Audio
from speech.content.campplus import CAMPPlusConfig
from speech.content.s3 import S3Config
from speech.errors import SpeechError
from speech.tts.model import SynthesiserModel
from speech.tts.session import Speech
from speech.tts.synthesiser import Synthesiser
from tests.sounds import said
from tests.tts.small import RATE, small_synthesiser

TEXT = (
    'Good morning, "everyone". It is 5 o\'clock. Wait<break time="200ms"/> here, please! '
    '<prosody rate="150%">Quick.</prosody>'
)


@pytest.fixture(scope="module")
def synthesiser() -> Synthesiser:
    """Two voices, one of them with a prompt."""
    return small_synthesiser()


def _joined(parts: list[Speech]) -> np.ndarray:
    return np.concatenate([part.samples for part in parts])


@settings(deadline=None, max_examples=4)
@given(st.data())
def test_how_text_comes_does_not_matter(synthesiser: Synthesiser, data: st.DataObject) -> None:
    voice, speed = data.draw(st.sampled_from(["plain", "prompted"])), data.draw(st.sampled_from([1.0, 0.8]))
    whole = synthesiser.synthesize(TEXT, voice, speed=speed, seed=3)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(TEXT)), max_size=12)))
    pieces = [TEXT[a:b] for a, b in zip([0, *cuts], [*cuts, len(TEXT)], strict=True)]
    with synthesiser.stream(iter(pieces), voice, speed=speed, seed=3) as stream:
        parts = list(stream)
    samples = _joined(parts)
    assert len(parts) > 3 and samples.shape == whole.samples.shape
    np.testing.assert_allclose(samples, whole.samples, atol=1e-5)
    assert tuple(word for part in parts for word in part.words) == whole.words


def test_words_lie_where_they_are_said(synthesiser: Synthesiser) -> None:
    whole = synthesiser.synthesize(TEXT, seed=1)
    assert [
        word.text for word in whole.words
    ] == "Good morning everyone It is five o'clock Wait here please Quick".split()
    times = [time for word in whole.words for time in (word.start, word.end)]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= whole.seconds
    before, after = whole.words[7], whole.words[8]
    silence = whole.samples[round(before.end * RATE) : round(after.start * RATE)]
    assert round(after.start - before.end, 6) >= 0.2 and (silence == 0).sum() >= 0.2 * RATE


def test_seed_voice_and_speed_tell(synthesiser: Synthesiser) -> None:
    text = "Nothing else changes it."
    first = synthesiser.synthesize(text, seed=5)
    assert np.array_equal(first.samples, synthesiser.synthesize(text, seed=5).samples)
    assert not np.array_equal(first.samples, synthesiser.synthesize(text, seed=6).samples[: len(first.samples)])
    assert synthesiser.synthesize(text, "prompted", seed=5).samples.shape != first.samples.shape
    slow = synthesiser.synthesize(text, seed=5, speed=0.5)
    assert slow.seconds == pytest.approx(2 * first.seconds, abs=0.1)
    assert slow.words[-1].start == pytest.approx(2 * first.words[-1].start, abs=0.02)


def test_streams_stand_beside_one_another(synthesiser: Synthesiser) -> None:
    texts = {"plain": "One sentence for one voice.", "prompted": "And another, said meanwhile."}
    streams = {voice: synthesiser.stream(text, voice, seed=2) for voice, text in texts.items()}
    sounds: dict[str, list[Speech]] = {voice: [] for voice in texts}
    running = {voice: iter(stream) for voice, stream in streams.items()}
    while running:
        for voice in list(running):
            part = next(running[voice], None)
            if part is None:
                del running[voice]
            else:
                sounds[voice].append(part)
    for voice, text in texts.items():
        np.testing.assert_allclose(
            _joined(sounds[voice]), synthesiser.synthesize(text, voice, seed=2).samples, atol=1e-5
        )


def test_a_cancelled_stream_says_no_more(synthesiser: Synthesiser) -> None:
    with synthesiser.stream(TEXT * 20, seed=0) as stream:
        for i, _ in enumerate(stream):
            assert i < 3
            if i == 2:
                stream.cancel()
        stages = stream.stages
        assert stages.codes < 100 and min(stages.text, stages.lm, stages.flow, stages.vocoder) > 0


def test_tasks_may_iterate_too(synthesiser: Synthesiser) -> None:
    async def written() -> AsyncIterator[str]:
        for word in TEXT.split(" "):
            await asyncio.sleep(0)
            yield word + " "

    async def said() -> list[Speech]:
        return [part async for part in synthesiser.stream(written(), seed=4)]

    async def plainly() -> list[Speech]:
        return [part async for part in synthesiser.stream(TEXT, seed=4)]

    expected = synthesiser.synthesize(TEXT, seed=4).samples
    np.testing.assert_allclose(_joined(asyncio.run(said())), expected, atol=1e-5)
    np.testing.assert_allclose(_joined(asyncio.run(plainly())), expected, atol=1e-5)
    with pytest.raises(SpeechError, match="async for"):
        iter(synthesiser.stream(written()))


@pytest.mark.parametrize("text", ["", "  \n", "?! ... --", "\x00\x07", "🙂🙂", '<break time="1s"/>'])
def test_nothing_to_say_is_told(synthesiser: Synthesiser, text: str) -> None:
    with pytest.raises(SpeechError, match="expected text with words that this voice can say, got none"):
        synthesiser.synthesize(text)


def test_unknown_letters_are_told(synthesiser: Synthesiser) -> None:
    with pytest.raises(SpeechError, match="this voice can say, got привет only"):
        synthesiser.synthesize("привет")
    with synthesiser.stream("Hello, привет to you.", seed=0) as stream:
        assert sum(part.seconds for part in stream) > 0.2
        assert "they are left out" in stream.warnings[0]


def test_broken_markup_is_read_with_a_warning(synthesiser: Synthesiser) -> None:
    with synthesiser.stream("<prosody rate='fast'>Some words <b>here", seed=0) as stream:
        assert sum(part.seconds for part in stream) > 0.2 and stream.warnings


def _broken() -> Iterator[str]:
    yield "What came before is said. "
    raise ConnectionError("the line is down")


def _stalled() -> Iterator[str]:
    yield "What came before is said. "
    time.sleep(60)
    yield "Never."


@pytest.mark.parametrize(
    ("source", "message"),
    [(_broken, "source failed: ConnectionError: the line is down"), (_stalled, "none came for 0.3 s")],
)
def test_text_that_breaks_off_is_said_to_its_end(synthesiser: Synthesiser, source, message: str) -> None:  # type: ignore[no-untyped-def]
    parts: list[Speech] = []
    with synthesiser.stream(source(), seed=0, patience=0.3) as stream, pytest.raises(SpeechError, match=message):
        parts.extend(stream)
    expected = synthesiser.synthesize("What came before is said. ", seed=0)
    np.testing.assert_allclose(_joined(parts), expected.samples, atol=1e-5)


def test_a_long_text_goes_on_in_constant_steps(synthesiser: Synthesiser) -> None:
    """A hundred kilobytes without punctuation: speech begins with the first words, and a thread may cancel it."""
    with synthesiser.stream("word " * 20000, seed=0) as stream:
        sound = iter(stream)
        assert all(next(sound).seconds > 0 for _ in range(3)) and stream.stages.codes < 100
        thread = threading.Thread(target=stream.cancel)
        thread.start()
        thread.join()
        assert next(sound, None) is None


def test_prompts_of_the_voices_spoken_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speech.tts.render.PROMPTS", 1)
    small = small_synthesiser()
    small._voices.keep("other", replace(small._voices["prompted"], mel=small._voices["prompted"].mel.flip(0)))
    said = {voice: small.synthesize("One word.", voice, seed=1).samples for voice in ("prompted", "other")}
    assert not np.array_equal(said["prompted"], said["other"])
    for voice, samples in said.items():
        assert np.array_equal(small.synthesize("One word.", voice, seed=1).samples, samples)
        assert len(small._setup.acoustics._prompts) == 1


def test_bad_choices_are_told(synthesiser: Synthesiser) -> None:
    with pytest.raises(SpeechError, match="expected a voice of plain, prompted, got 'nobody'"):
        synthesiser.synthesize("Hello.", "nobody")
    with pytest.raises(SpeechError, match=r"expected a speed of 0\.25 to 4\.0, got 9"):
        synthesiser.stream("Hello.", speed=9)
    with pytest.raises(SpeechError, match="takes voices up from recordings, this one has none"):
        synthesiser.add_voice("new", Audio(np.zeros(RATE, np.float32), RATE))
    with pytest.raises(SpeechError, match="expected pieces of text, got int"):
        list(synthesiser.stream(["Hello. ", 3]))  # type: ignore[list-item]
    with pytest.raises(SpeechError, match="expected a text or pieces of one, got NoneType"):
        synthesiser.synthesize(None)  # type: ignore[arg-type]
    with pytest.raises(SpeechError, match="expected a text or pieces of one, got bytes"):
        synthesiser.synthesize(b"Hello.")  # type: ignore[arg-type]
    for patience in (-1, float("inf"), float("nan"), "long"):
        with pytest.raises(SpeechError, match="expected a patience of 0 seconds or more"):
            synthesiser.stream(["Hello."], patience=patience)  # type: ignore[arg-type]
    with pytest.raises(SpeechError, match="add_voice"):
        Synthesiser(synthesiser.model, synthesiser.reader, {}).synthesize("Hello.")


def test_what_the_first_sound_waits_for_is_stated(synthesiser: Synthesiser) -> None:
    latency = synthesiser.latency
    assert latency.codes == 5 + 3 and latency.code_seconds == 0.08 and 0 < latency.vocoder_seconds < 1
    with synthesiser.stream(TEXT, seed=0) as stream:
        next(iter(stream))
        assert stream.stages.codes == latency.codes


def test_a_voice_is_taken_up_from_a_recording(synthesiser: Synthesiser) -> None:
    config = replace(
        synthesiser.model.config,
        tokenizer=S3Config(dim=64, layers=1, heads=1, levels=(3, 3, 3)),
        speaker=CAMPPlusConfig(dim=6),
    )
    torch.manual_seed(0)
    model = SynthesiserModel(config).eval()
    assert model.tokenizer is not None and model.speaker is not None
    tall = Synthesiser(model, synthesiser.reader, {}, tokenizer=model.tokenizer, speaker=model.speaker)  # type: ignore[arg-type]
    noise = 0.1 * np.random.default_rng(0).standard_normal(2 * 24000).astype(np.float32)
    for samples, what in (
        (noise[:2400], "at least 0.5 s"),
        (0 * noise, "silence"),
        (np.tile(noise, 20), "at most 30 s"),
    ):
        with pytest.raises(SpeechError, match=what):
            tall.add_voice("friend", Audio(samples, 24000))
    with pytest.raises(SpeechError, match="nobody seems to speak"):
        tall.add_voice("friend", Audio(noise, 24000))
    with pytest.raises(SpeechError, match="expected a sound file or an Audio, got ndarray"):
        tall.add_voice("friend", noise)  # type: ignore[arg-type]
    assert tall.voices == []
    tall.add_voice("friend", Audio(said(2.0, 24000), 24000))
    voice = tall._voices["friend"]
    assert len(voice.mel) == 2 * len(voice.codes) == 100 and tall.voices == ["friend"]
