"""The streaming contract: one base class that every module with a time axis obeys, and the ways to compose it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from math import gcd, lcm
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from speech.streaming.frames import OPEN, Frames, Place

State = dict[str, Any]
"""A tree of tensors, all starting as zeros, slot axis first. A slot is one live stream."""

Device = torch.device | str | None

Count = TypeVar("Count", int, Tensor)


class Streaming(nn.Module):
    """A module over time that computes whole signals (`forward`) and chunks of live streams (`step`) alike.

    A subclass declares its timing: `up / down` output frames for each input frame, and `look_ahead`, the number of
    input frames after frame j * down / up that output j needs at the most. From these `first` follows: a chunk that
    begins at input index `start` yields outputs that begin at `first(start)`, and `count * up / down` of them. `first`
    never falls as `start` grows, and `first(n) <= total(n)`: what has come never exceeds what there will be.

    Nothing about a stream lives on the module: two engines on one set of weights work.
    """

    up: int = 1
    down: int = 1
    look_ahead: int = 0

    @property
    def grain(self) -> int:
        """A step brings a multiple of `grain` input frames: `down`, or more where attention wants whole chunks."""
        return self.down

    def first(self, start: int) -> int:
        """Index of the first output of a chunk that begins at input index `start`."""
        return -((self.look_ahead - start) * self.up // self.down)

    def total(self, count: Count) -> Count:
        """Number of output frames of a whole stream of `count` input frames."""
        return count * self.up // self.down

    def forward(self, frames: Frames) -> Frames:
        """Whole signals: [b, t, ...] -> [b, total(t), ...]."""
        raise NotImplementedError

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        """State for `slots` streams: zeros, slot axis first, of fixed shape from here on."""
        return {}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        """One chunk of the streams in `slots` ([b] int64): [b, t, ...] -> [b, t * up / down, ...].

        The state is updated in place. t is any multiple of `grain`. A slot that is not listed is not touched.
        """
        raise NotImplementedError

    def placed(self, frames: Frames, data: Tensor) -> Frames:
        """Outputs `data` [b, t', ...] of `forward` for the whole signals `frames`."""
        return Frames(data, Place(frames.place.start, self.total(frames.place.stop), data.shape[1]))

    def moved(self, place: Place, count: int) -> Place:
        """The place of the outputs of `step` for inputs at `place`; `count` output frames."""
        first = self.first(place.phase)
        if (first, count) == (place.phase, place.count) and (self.total(1), self.total(OPEN)) == (1, OPEN):
            return place  # an output a frame, each at its own: nothing is computed, and masks are shared
        start = first + torch.div((place.start - place.phase) * self.up, self.down, rounding_mode="floor")
        return Place(start, self.total(place.stop), count, first)


class Pointwise(Streaming):
    """A module that treats every frame alone (norm, linear, activation) put under the contract. data: [b, t, d]."""

    def __init__(self, module: nn.Module | Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.module = module

    def forward(self, frames: Frames) -> Frames:
        return frames.like(self.module(frames.data))

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        return self.forward(frames)


class Sequential(Streaming):
    """Modules one after another. Plain `nn.Module`s among them are taken as pointwise; timing and state compose."""

    def __init__(self, **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self._declare()

    def _declare(self) -> None:
        """Compose stride and look-ahead: right = right_1 + stride_1 * right_2, as receptive fields grow."""
        up, down, ahead = 1, 1, 0
        for module in self.children():
            if isinstance(module, Streaming):
                ahead += -(-module.look_ahead * down // up)
                up, down = up * module.up, down * module.down
        self.up, self.down, self.look_ahead = up, down, ahead

    @property
    def grain(self) -> int:
        up, down, grain = 1, 1, 1
        for module in self.children():
            if isinstance(module, Streaming):
                here = module.grain * down  # in input frames: here / up
                grain = lcm(grain, here // gcd(here, up))
                up, down = up * module.up, down * module.down
        return lcm(grain, down // gcd(up, down))

    def first(self, start: int) -> int:
        for module in self.children():
            if isinstance(module, Streaming):
                start = module.first(start)
        return start

    def total(self, count: Count) -> Count:
        for module in self.children():
            if isinstance(module, Streaming):
                count = module.total(count)
        return count

    def forward(self, frames: Frames) -> Frames:
        return self.forward_from(0, frames)

    def forward_from(self, begin: int, frames: Frames) -> Frames:
        """`forward` of all modules but the first `begin`."""
        for module in islice(self.children(), begin, None):
            frames = module(frames) if isinstance(module, Streaming) else frames.like(module(frames.data))
        return frames

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        tree = {n: m.init_state(slots, device, dtype) for n, m in self.named_children() if isinstance(m, Streaming)}
        return {name: state for name, state in tree.items() if state}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        return self.step_from(0, frames, state, slots)

    def step_from(self, begin: int, frames: Frames, state: State, slots: Tensor) -> Frames:
        """`step` of all modules but the first `begin`."""
        for name, module in islice(self.named_children(), begin, None):
            if isinstance(module, Streaming):
                frames = module.step(frames, state.get(name, {}), slots)
            else:
                frames = frames.like(module(frames.data))
        return frames


class Delay(Streaming):
    """Holds frames back by `frames` of its own rate, as if it had looked ahead so far. data: [b, t, d]."""

    def __init__(self, dim: int, frames: int) -> None:
        super().__init__()
        self.dim, self.look_ahead = dim, frames

    def forward(self, frames: Frames) -> Frames:
        return frames

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        if not self.look_ahead:
            return {}
        return {"tail": torch.zeros(slots, self.look_ahead, self.dim, device=device, dtype=dtype)}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        if not self.look_ahead:
            return frames
        seen = shift(state["tail"], slots, frames.data)
        count = frames.data.shape[1]
        return Frames(seen[:, :count], self.moved(frames.place, count))


class Parallel(Streaming):
    """Branches over one input, joined by `join` (default: their sum). What comes early waits for the latest branch.

    All branches have the same `up / down` and the output width `dim`. Branch outputs: [b, t, dim]. How long a branch
    waits may depend on the phase, since branches of one stride and unequal look-ahead round differently; the kept tail
    has room for the longest wait.
    """

    def __init__(self, dim: int, join: Callable[..., Tensor] | None = None, **branches: Streaming) -> None:
        super().__init__()
        rates = {(m.up, m.down) for m in branches.values()}
        if len(rates) != 1:
            raise ValueError(
                f"expected branches of one rate, got up/down {sorted(rates)}: resample the slower branch first"
            )
        self.up, self.down = rates.pop()
        if any(len({m.total(n) for m in branches.values()}) > 1 for n in range(2 * self.down + 1)):
            raise ValueError(
                "expected branches of one length, got totals that differ: give their convolutions other tails"
            )
        self.look_ahead = max(m.look_ahead for m in branches.values())
        self.dim, self.join = dim, join or (lambda *xs: sum(xs[1:], start=xs[0]))
        self.branches = nn.ModuleDict(branches)
        starts = range(self.grain)
        self.waits = {n: max(m.first(s) - self.first(s) for s in starts) for n, m in branches.items()}

    def _named(self) -> list[tuple[str, Streaming]]:
        return list(self.branches.items())  # type: ignore[arg-type]

    @property
    def grain(self) -> int:
        return lcm(*(m.grain for _, m in self._named()))

    def first(self, start: int) -> int:
        return min(m.first(start) for _, m in self._named())

    def total(self, count: Count) -> Count:
        return self._named()[0][1].total(count)

    def forward(self, frames: Frames) -> Frames:
        outs = [branch(frames) for _, branch in self._named()]
        return outs[0].like(self.join(*(out.data for out in outs)))

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        state: State = {}
        for name, module in self._named():
            inner = {"branch": module.init_state(slots, device, dtype)}
            if self.waits[name]:
                inner["wait"] = {"tail": torch.zeros(slots, self.waits[name], self.dim, device=device, dtype=dtype)}
            state[name] = {key: tree for key, tree in inner.items() if tree}
        return {name: tree for name, tree in state.items() if tree}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        phase, outs = self.first(frames.place.phase), []
        for name, module in self._named():
            inner = state.get(name, {})
            out = module.step(frames, inner.get("branch", {}), slots)
            outs.append(hold(out, phase, inner.get("wait", {}), slots))
        return outs[0].like(self.join(*(out.data for out in outs)))


class Residual(Streaming):
    """x + scale * branch(x); x waits for a branch that looks ahead. data: [b, t, dim] -> [b, t, dim].

    The branch may go down and up again; what it has more than x at the end, filling its last stride, is cut.
    """

    def __init__(self, dim: int, branch: Streaming, scale: float = 1.0) -> None:
        super().__init__()
        if branch.up != branch.down:
            raise ValueError(
                f"expected a branch of rate 1, got {branch.up}/{branch.down}: a residual adds frame to frame"
            )
        self.up, self.down, self.look_ahead = branch.up, branch.down, branch.look_ahead
        self.dim, self.branch, self.scale = dim, branch, scale
        self.wait = max(start - branch.first(start) for start in range(branch.down))

    @property
    def grain(self) -> int:
        return self.branch.grain

    def first(self, start: int) -> int:
        return self.branch.first(start)

    def total(self, count: Count) -> Count:
        return count

    def forward(self, frames: Frames) -> Frames:
        return frames.like(frames.data + self.scale * self.branch(frames).data[:, : frames.place.count])

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        tree: State = {"branch": self.branch.init_state(slots, device, dtype)}
        if self.wait:
            tree["wait"] = {"tail": torch.zeros(slots, self.wait, self.dim, device=device, dtype=dtype)}
        return {name: state for name, state in tree.items() if state}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        out = self.branch.step(frames, state.get("branch", {}), slots)
        kept = hold(frames, out.place.phase, state.get("wait", {}), slots)
        return kept.like(torch.add(kept.data, out.data, alpha=self.scale))


def shift(tail: Tensor, slots: Tensor, new: Tensor) -> Tensor:
    """Append `new` [b, t, ...] to the kept tails [slots, n, ...] of `slots`; keep the last n; give [b, n + t, ...]."""
    n = tail.shape[1]
    seen = torch.cat([tail.index_select(0, slots), new.to(tail.dtype)], 1)
    tail[slots] = seen[:, seen.shape[1] - n :]
    return seen


def overlap_add(sums: Tensor, slots: Tensor, new: Tensor) -> Tensor:
    """Add the kept partial sums [slots, n, ...] of `slots` to the first n of `new` [b, t + n, ...], keep the last n.

    Returns the t sums that are final, [b, t, ...].
    """
    n = sums.shape[1]
    done = new.shape[1] - n
    total = new + pad(sums[slots], (*[0, 0] * (sums.dim() - 2), 0, done))
    sums[slots] = total[:, done:].to(sums.dtype)
    return total[:, :done]


def hold(frames: Frames, phase: int, state: State, slots: Tensor) -> Frames:
    """`frames` held back so that they begin at `phase`; `state["tail"]` [slots, n, ...] has room for the wait."""
    wait, place = frames.place.phase - phase, frames.place
    if not state:
        return frames
    seen, room = shift(state["tail"], slots, frames.data), state["tail"].shape[1]
    data = seen[:, room - wait : room - wait + place.count]
    return Frames(data, Place(place.start - wait, place.stop, place.count, phase))
