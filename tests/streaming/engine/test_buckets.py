"""Whoever shares the batch, and however many: tokens are the same in every bucket, sound within rounding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from speech.asr.events import Event, Final
from speech.streaming.engine.config import EngineConfig
from speech.streaming.engine.session import Session
from tests.asr.small import noise
from tests.asr.whisper.test_whisper_host import assert_same
from tests.streaming.engine.hosted import CARD, converter, recogniser, synthesiser
from tests.streaming.engine.small import Rig
from tests.vc.small import voice

BUCKETS = EngineConfig().buckets
KINDS = 8
"""Different inputs that fill a batch, over and over."""

DEVICES = ["cpu", pytest.param("cuda", marks=CARD)]


def _run(rig: Rig, inputs: Sequence[Any], options: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """What streams give that are pushed their inputs at once; their slots are free again behind them."""
    sessions: list[Session] = [rig.open(**how) for how in options]
    for session, item in zip(sessions, inputs, strict=True):
        session.push(item)
        session.end()
    rig.settle()
    assert rig.free == {rig.scheduler.slots}
    return [session.poll() for session in sessions]


class Crowd:
    """A recogniser with room for the largest batch, sounds, and the events of each sound alone."""

    def __init__(self, device: torch.device) -> None:
        model = recogniser(device)
        self.sounds = [noise(0.6, seed) for seed in range(10, 10 + KINDS)]
        self.events: list[list[Event]] = []
        for sound in self.sounds:
            with model.stream(16000) as stream:
                self.events.append(stream.push(sound) + stream.flush())
        self.rig = Rig(model.host(BUCKETS[-1]), BUCKETS[-1])


@pytest.fixture(scope="module", params=DEVICES)
def crowd(request: pytest.FixtureRequest) -> Crowd:
    return Crowd(torch.device(request.param))


def test_each_sound_has_a_text_of_its_own(crowd: Crowd) -> None:
    texts = [" ".join(event.text for event in events if isinstance(event, Final)) for events in crowd.events]
    assert len({*texts}) == KINDS and all(len(text.split()) > 5 for text in texts)


@pytest.mark.parametrize("rows", sorted({*BUCKETS, 5, 100}))
def test_every_bucket_writes_what_a_stream_writes_alone(crowd: Crowd, rows: int) -> None:
    """Those that are filled up, too."""
    before = crowd.rig.batches
    kinds = [(i + rows) % KINDS for i in range(rows)]
    for kind, events in zip(kinds, _run(crowd.rig, [crowd.sounds[k] for k in kinds], [{}] * rows), strict=True):
        assert_same(events, crowd.events[kind])
    for name, (steps, seen) in crowd.rig.batches.items():
        known = before.get(name, (0, 0.0))
        assert seen - known[1] == rows * (steps - known[0]) > 0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("rows", "second"), [(512, False), (64, True)])
def test_a_batch_converts_as_a_stream_alone(rows: int, second: bool, device: str) -> None:
    model, x = converter(torch.device(device), second=second), voice(0.4)
    alone = {}
    for name in model.targets:
        with model.stream(16000, name) as stream:
            alone[name] = np.concatenate([stream.push(x), stream.flush()])
    targets = [model.targets[i % 2] for i in range(rows)]
    rig = Rig(model.host(rows), rows, EngineConfig(buckets=(1, rows)))
    for name, parts in zip(targets, _run(rig, [x] * rows, [{"target": name} for name in targets]), strict=True):
        np.testing.assert_allclose(np.concatenate(parts), alone[name], atol=1e-4)
    assert np.abs(alone["anna"] - alone["ben"]).max() > 0.01 and alone["anna"].std() > 0.05
    assert {seen / count for count, seen in rig.batches.values()} == {rows}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rows", [3, 64])
def test_a_batch_speaks_as_a_stream_alone(rows: int, device: str) -> None:
    model, text = synthesiser(torch.device(device)), "It is late."
    alone = [model.synthesize(text, seed=seed).samples for seed in range(KINDS)]
    assert len({len(samples) for samples in alone}) > 3
    seeds = [i % KINDS for i in range(rows)]
    rig = Rig(model.host(rows), rows)
    for seed, parts in zip(seeds, _run(rig, [text] * rows, [{"seed": seed} for seed in seeds]), strict=True):
        np.testing.assert_allclose(np.concatenate([part.samples for part in parts]), alone[seed], atol=1e-4)
    assert all(seen > count for count, seen in rig.batches.values())
