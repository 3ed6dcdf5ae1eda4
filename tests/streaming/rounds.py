"""Many streams stepped together as an engine steps them, without clocks and queues."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from random import Random
from typing import Any

import torch

from speech.streaming.lane import Call


@torch.inference_mode()
def together(askings: Sequence[Generator[Any, Any, Any]]) -> list[list[Any]]:
    """Run what streams do side by side; the results that each yields.

    In every round the calls of all streams that wait are run, those of one key as one batch, in an order that changes.
    """
    rng = Random(0)
    found: list[list[Any]] = [[] for _ in askings]
    waiting = {i: call for i, asking in enumerate(askings) if (call := _next(asking, None, found[i]))}
    while waiting:
        groups: dict[Any, list[int]] = {}
        for i in rng.sample(sorted(waiting), len(waiting)):
            groups.setdefault(waiting[i].key, []).append(i)
        for group in groups.values():
            calls = [waiting.pop(i) for i in group]
            for i, answer in zip(group, calls[0].seat.lane.run(calls), strict=True):
                if call := _next(askings[i], answer, found[i]):
                    waiting[i] = call
    return found


def noted(asking: Generator[Any, Any, Any], calls: list[Call]) -> Generator[Any, Any, None]:
    """The same, its calls written down."""
    answer = None
    while True:
        try:
            found = asking.send(answer)
        except StopIteration:
            return
        if isinstance(found, Call):
            calls.append(found)
        answer = yield found


def _next(asking: Generator[Any, Any, Any], answer: Any, found: list[Any]) -> Call | None:
    """What a stream asks for next; what it yields before goes to `found`."""
    try:
        told = asking.send(answer)
        while not isinstance(told, Call):
            found.append(told)
            told = asking.send(None)
    except StopIteration:
        return None
    return told
