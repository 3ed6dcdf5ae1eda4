"""Conversion in an engine: whoever shares the batch, each stream gives what it gives alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from speech.errors import SpeechError
from speech.streaming.arena import Full
from speech.vc.converter import Converter
from speech.vc.host import ConverterHost, HostedConversion
from tests.streaming.rounds import together
from tests.vc.small import small_converter, small_target, voice

RATES = ((16000, 16000), (48000, 16000))


@pytest.fixture(scope="module")
def converters() -> dict[bool, Converter]:
    """With a third target, of a shorter reference."""
    made = {second: small_converter(second=second) for second in (False, True)}
    for converter in made.values():
        with torch.random.fork_rng():
            torch.manual_seed(2)
            converter._voices.keep("cleo", small_target(11))
    return made


class Guest:
    """A hosted stream beside the same one alone. plan: the target of every push, each of `samples` samples."""

    def __init__(self, converter: Converter, host: ConverterHost, rate: int, samples: int, plan: str) -> None:
        names = {name[0]: name for name in converter.targets}
        self.plan = [names[letter] for letter in plan]
        self.hosted: HostedConversion = host.open(sample_rate=rate, target=self.plan[0])
        self.parts = np.split(voice(samples * len(plan) / rate, rate, seed=samples), len(plan))
        self.got: list[np.ndarray] = []
        with converter.stream(rate, self.plan[0]) as alone:
            outs = []
            for name, part in zip(self.plan, self.parts, strict=True):
                alone.target = name
                outs.append(alone.push(part))
            self.wanted = np.concatenate([*outs, alone.flush()])
            assert alone.muted_chunks == 0

    def check(self) -> None:
        got = np.concatenate(self.got)
        assert got.dtype == np.float32 and got.std() > 0.05
        np.testing.assert_allclose(got, self.wanted, atol=1e-4)


def free(host: ConverterHost) -> list[int]:
    return [lane.arena.free for _, lane in host.setups.values()]


def turn(guests: list[Guest], number: int) -> None:
    """The push of that number of all guests, or the end of those that have no more."""
    askings = []
    for guest in guests:
        if number < len(guest.parts):
            guest.hosted.target = guest.plan[number]
            askings.append(guest.hosted.feeding(guest.hosted.taken(guest.parts[number])))
        else:
            askings.append(guest.hosted.ending())
    for guest, out in zip(guests, together(askings), strict=True):
        guest.got += out


def run(guests: list[Guest], *, parked: bool = False) -> None:
    """All pushes of all guests, and their ends."""
    for number in range(max(len(guest.parts) for guest in guests) + 1):
        now = [guest for guest in guests if number <= len(guest.parts)]
        seats = [seat for guest in now for seat in guest.hosted.seats] if parked else []
        for seat in seats[::-1]:
            seat.unpark()
        turn(now, number)
        for seat in seats:
            seat.park()


@pytest.mark.parametrize(("second", "parked"), [(False, False), (False, True), (True, True)])
def test_streams_give_what_they_give_alone(converters: dict[bool, Converter], second: bool, parked: bool) -> None:
    """Of different targets, which change, of different rates and lengths, beginning and ending at different times."""
    converter = converters[second]
    host = converter.host(3, rates=RATES)
    plans = (16000, 1700, "aaccbb"), (16000, 900, "bbbbbbb"), (16000, 2560, "cab"), (48000, 5000, "bac")
    guests = [Guest(converter, host, *plan) for plan in plans]
    assert free(host) == [0, 2]
    run(guests, parked=parked)
    for guest in guests:
        guest.check()
        guest.hosted.close()
        guest.hosted.close()
    assert free(host) == [3, 3]


def test_a_stream_that_goes_wrong_is_alone_in_it(converters: dict[bool, Converter]) -> None:
    """Its voice is written again, and the next stream in its slot begins anew."""
    converter = converters[False]
    host = converter.host(2)
    guests = [Guest(converter, host, 16000, 2560, "aaa"), Guest(converter, host, 16000, 2560, "bbb")]
    kept = guests[0].hosted.stream._kept["network"]["timbre"]
    broken, whole = guests
    turn(guests, 0)
    kept["values"][broken.hosted.seats[0].slot] = torch.nan
    for number in (1, 2, 3):
        turn(guests[::-1], number)
    whole.check()
    assert broken.hosted.stream.muted_chunks == 1 and whole.hosted.stream.muted_chunks == 0
    out = np.concatenate(broken.got)
    assert len(out) == len(broken.wanted) and np.isfinite(out).all() and out[-2000:].std() > 0.05
    slot = broken.hosted.seats[0].slot
    torch.testing.assert_close(kept["values"][slot, :, :, :30], converter._target("anna").values[0])
    broken.hosted.close()
    again = Guest(converter, host, 16000, 2560, "cc")
    assert again.hosted.seats[0].slot == slot
    run([again])
    again.check()


def test_what_an_engine_foresees(converters: dict[bool, Converter]) -> None:
    """The steps told of are those that streams take."""
    host = converters[False].host(1, rates=RATES)
    assert host.seconds == pytest.approx(0.08) and host.backlog == 30 * 48000
    for (rate, _), step in zip(RATES, host.regular, strict=True):
        hosted = host.open(sample_rate=rate)
        call = next(hosted.feeding(hosted.taken(voice(0.2, rate))))
        assert call.key == (step.lane, step.count, step.phase) and step.shape == call.data.shape[1:] == ()
        assert call.data.dtype == step.dtype and step.per_second == rate / step.count
        assert hosted.lead == 0 and hosted.delay == hosted.stream.delay
        hosted.close()


def test_a_target_is_made_before_a_stream_is_opened_in_it() -> None:
    converter = small_converter(second=False)
    host = converter.host(1)
    assert not converter._targets
    for name in ("ben", None):
        host.prepare(target=name, sample_rate=16000)
        known = {**converter._targets}
        with host.open(target=name).stream as stream:
            assert converter._targets == known and stream.target in known
    with pytest.raises(SpeechError, match="got 'nobody'"):
        host.prepare(target="nobody")


def test_what_a_host_has_no_room_for(converters: dict[bool, Converter]) -> None:
    converter = converters[False]
    host = converter.host(1, rates=((16000, None), (8000, 48000)))
    with pytest.raises(
        SpeechError, match="expected sample rates of 16000 to 16000, 8000 to 48000 Hz, got 8000 to 16000"
    ):
        host.open(sample_rate=8000)
    with pytest.raises(SpeechError, match="expected a target of anna, ben, cleo, got 'nobody'"):
        host.open(target="nobody")
    assert free(host) == [1, 1]
    stream = host.open(target="ben")
    assert stream.target == "ben"
    with pytest.raises(Full, match="expected a free slot"):
        host.open()
    long = small_target(3000)
    other = Converter(converter.model, dict(converter._voices))
    room = other.host(1).open()
    other._voices.keep("long", long)
    with pytest.raises(SpeechError, match=r"at most 2000 frames of references, .* 'long' has 3000: take it up before"):
        room.target = "long"
    assert room.target == "anna" and other.host(1).open(target="long").target == "long"
    with pytest.raises(SpeechError, match="simple ratio to 16000 Hz"):
        converter.host(1, rates=((11127, None),))
