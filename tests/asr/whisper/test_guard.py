from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from speech.asr.whisper.guard import Guard

GUARD = Guard()


def test_what_is_said_a_fourth_time_is_said_once() -> None:
    assert GUARD.kept([5, 7, 7, 7, 7]) == 2
    assert GUARD.kept([5, *[1, 2, 3] * 4]) == 4
    assert GUARD.kept([*[1, 2, 3, 4, 5, 6] * 4]) == 6


def test_what_is_said_three_times_stays() -> None:
    for ids in ([], [7], [5, 7, 7, 7], [1, 2, 3] * 3, [7, 7, 7, 7, 5], [*range(7)] * 4, [1, 2, 1, 2, 1, 2, 1]):
        assert GUARD.kept(ids) == len(ids)


@given(head=st.lists(st.integers(0, 3), max_size=8), unit=st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_any_repetition_is_met(head: list[int], unit: list[int]) -> None:
    """Whatever stands before it; what is kept begins with the text and holds no fourth time at its end."""
    ids = [*head, *unit * 4]
    kept = GUARD.kept(ids)
    assert kept < len(ids)
    assert (len(ids) - kept) % 3 == 0
    again = (len(ids) - kept) // 3
    assert ids[-4 * again :] == ids[kept - again : kept] * 4


def test_the_rate() -> None:
    assert [GUARD.most(seconds) for seconds in (0.0, 0.6, 30.0)] == [12, 21, 462]
