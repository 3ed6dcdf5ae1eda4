"""The streaming contract: one base class that every module with a time axis obeys, and the ways to compose it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from speech.streaming.frames import Frames, Place

State = dict[str, Any]
"""A tree of tensors, all starting as zeros, slot axis first. A slot is one live stream."""

Count = TypeVar("Count", int, Tensor)


class Streaming(nn.Module):
    """A module over time that computes whole signals (`forward`) and chunks of live streams (`step`) alike.

    A subclass declares its timing: `up / down` output frames for each input frame, and `look_ahead`, the number of
    input frames after frame j * down / up that output j needs at the most. From these `first` follows: a chunk that
    begins at input index `start` yields outputs that begin at `first(start)`, and `count * up / down` of them.

    Nothing about a stream lives on the module: two engines on one set of weights work.
    """

    up: int = 1
    down: int = 1
    look_ahead: int = 0

    def first(self, start: int) -> int:
        """Index of the first output of a chunk that begins at input index `start`."""
        return -((self.look_ahead - start) * self.up // self.down)

    def total(self, count: Count) -> Count:
        """Number of output frames of a whole stream of `count` input frames."""
        return count * self.up // self.down

    def forward(self, frames: Frames) -> Frames:
        """Whole signals: [b, t, ...] -> [b, total(t), ...]."""
        raise NotImplementedError

    def init_state(self, slots: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> State:
        """State for `slots` streams: zeros, slot axis first, of fixed shape from here on."""
        return {}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        """One chunk of the streams in `slots` ([b] int64): [b, t, ...] -> [b, t * up / down, ...]; state is updated in place.

        t is any multiple of `down`. A slot that is not listed is not touched.
        """
        raise NotImplementedError

    def placed(self, frames: Frames, data: Tensor) -> Frames:
        """Outputs `data` [b, t', ...] of `forward` for the whole signals `frames`."""
        return Frames(data, Place(frames.place.start, self.total(frames.place.stop), data.shape[1]))

    def moved(self, place: Place, count: int) -> Place:
        """The place of the outputs of `step` for inputs at `place`; `count` output frames."""
        start = -torch.div((self.look_ahead - place.start) * self.up, self.down, rounding_mode="floor")
        return Place(start, self.total(place.stop), count, self.first(place.phase))


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
        """Compose stride and look-ahead: right = right_1 + stride_1 * right_2 (van den Oord et al. 2016, receptive field)."""
        up, down, ahead = 1, 1, 0
        for module in self.children():
            if isinstance(module, Streaming):
                ahead += -(-module.look_ahead * down // up)
                up, down = up * module.up, down * module.down
        self.up, self.down, self.look_ahead = up, down, ahead

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
        for module in self.children():
            frames = module(frames) if isinstance(module, Streaming) else frames.like(module(frames.data))
        return frames

    def init_state(self, slots: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> State:
        tree = {n: m.init_state(slots, device, dtype) for n, m in self.named_children() if isinstance(m, Streaming)}
        return {name: state for name, state in tree.items() if state}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        for name, module in self.named_children():
            if isinstance(module, Streaming):
                frames = module.step(frames, state.get(name, {}), slots)
            else:
                frames = frames.like(module(frames.data))
        return frames


class Delay(Streaming):
    """Holds frames back by `frames` steps of its own rate, to line a short branch up with a longer one. data: [b, t, d]."""

    def __init__(self, dim: int, frames: int) -> None:
        super().__init__()
        self.dim, self.look_ahead = dim, frames

    def forward(self, frames: Frames) -> Frames:
        return frames

    def init_state(self, slots: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> State:
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
    """Branches over one input, joined by `join` (default: their sum). The shorter branches are delayed to the longest.

    All branches have the same `up / down` and the output width `dim`. Branch outputs: [b, t, dim].
    """

    def __init__(self, dim: int, join: Callable[..., Tensor] | None = None, **branches: Streaming) -> None:
        super().__init__()
        rates = {(m.up, m.down) for m in branches.values()}
        if len(rates) != 1:
            raise ValueError(f"expected branches of one rate, got up/down {sorted(rates)}: resample the slower branch first")
        self.up, self.down = rates.pop()
        self.look_ahead = max(m.look_ahead for m in branches.values())
        self.join = join or (lambda *xs: sum(xs[1:], start=xs[0]))
        aligned = {}
        for name, module in branches.items():
            lag = module.first(0) - self.first(0)
            aligned[name] = Sequential(branch=module, delay=Delay(dim, lag)) if lag else module
        self.branches = nn.ModuleDict(aligned)

    def total(self, count: Count) -> Count:
        return next(iter(self.branches.values())).total(count)  # type: ignore[operator]

    def forward(self, frames: Frames) -> Frames:
        outs = [branch(frames) for branch in self.branches.values()]
        return outs[0].like(self.join(*(out.data for out in outs)))

    def init_state(self, slots: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> State:
        tree: Mapping[str, State] = {n: m.init_state(slots, device, dtype) for n, m in self.branches.items()}  # type: ignore[operator]
        return {name: state for name, state in tree.items() if state}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        outs = [m.step(frames, state.get(n, {}), slots) for n, m in self.branches.items()]  # type: ignore[operator]
        return outs[0].like(self.join(*(out.data for out in outs)))


class Residual(Streaming):
    """x + scale * branch(x); x waits for a branch that looks ahead. data: [b, t, dim] -> [b, t, dim]."""

    def __init__(self, dim: int, branch: Streaming, scale: float = 1.0) -> None:
        super().__init__()
        if (branch.up, branch.down) != (1, 1):
            raise ValueError(f"expected a branch of rate 1, got {branch.up}/{branch.down}: a residual adds frame to frame")
        self.branch, self.scale, self.look_ahead = branch, scale, branch.look_ahead
        self.delay = Delay(dim, branch.look_ahead)

    def forward(self, frames: Frames) -> Frames:
        return frames.like(frames.data + self.scale * self.branch(frames).data)

    def init_state(self, slots: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> State:
        tree = {"branch": self.branch.init_state(slots, device, dtype), "delay": self.delay.init_state(slots, device, dtype)}
        return {name: state for name, state in tree.items() if state}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        out = self.branch.step(frames, state.get("branch", {}), slots)
        kept = self.delay.step(frames, state.get("delay", {}), slots)
        return out.like(torch.add(kept.data, out.data, alpha=self.scale))


def shift(tail: Tensor, slots: Tensor, new: Tensor) -> Tensor:
    """Append `new` [b, t, ...] to the kept tails [slots, n, ...] of `slots`, keep the last n; returns [b, n + t, ...]."""
    n = tail.shape[1]
    seen = torch.cat([tail[slots], new.to(tail.dtype)], 1)
    tail[slots] = seen[:, seen.shape[1] - n :]
    return seen
