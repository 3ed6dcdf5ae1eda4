"""From noise to mel frames by mean flows, where each chunk sees what the chunks before it became."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from speech.errors import SpeechError
from speech.flow.dit import DiT
from speech.flow.solver import Sampling, noise_at
from speech.streaming.attention import chosen
from speech.streaming.frames import Frames, Place
from speech.streaming.module import Device, State, Streaming, shift


class ChunkSolver(Streaming):
    """Conditions [b, t, d] -> mel frames [b, t, mel], whole chunks of `chunk` frames one after another.

    Unlike `flow.solver.Solver`, whose steps each have a past of their own, one past serves all steps of a chunk: what a
    chunk leaves behind are the keys and values of its last step. So the memory of a stream does not grow with the
    steps, whose number may even change from chunk to chunk, and whole signals run through the same loop as streams do.

    history: embeds mel frames (-> [b, t, dim]); each step then also takes the chunk put out last, and the keys and
    values of this one are kept, not those of the chunk in the making (MeanVC, arXiv 2510.08392). None: the chunk's own
    are kept (MeanVC 2, arXiv 2606.09050). ahead: frames of the next chunk that are made besides, for the layers that
    look ahead, and are made again with the next chunk, from the same noise. noise: [n, mel], see `noise_at`.

    The embedded times are computed here, once: later changes of the weights do not reach them.

    Raises SpeechError for a sampling that is not of mean flows or asks for guidance, which mean flows hold inside.
    """

    noise: Tensor
    times: Tensor

    def __init__(
        self, dit: DiT, history: nn.Module | None, chunk: int, ahead: int, noise: Tensor, sampling: Sampling
    ) -> None:
        super().__init__()
        if not sampling.mean or sampling.guidance:
            raise SpeechError(
                f"expected a sampling of mean flows without guidance, got {sampling}: guidance is inside the network"
            )
        self.dit, self.history, self.sampling = dit, history, sampling
        self.chunk, self.look_ahead = chunk, ahead
        self.register_buffer("noise", noise, persistent=False)
        starts, spans = sampling.intervals()
        self.spans: list[float] = spans.tolist()
        with torch.no_grad():
            times = dit.modulate(starts.to(noise.device), (starts + spans).to(noise.device))
        self.widths = [time.shape[-1] for time in times]
        self.register_buffer("times", torch.cat(times, -1), persistent=False)

    @property
    def grain(self) -> int:
        return self.chunk

    def first(self, start: int) -> int:
        """Where the last chunk begins that is complete, with what it needs ahead, before `start` comes."""
        return (start - self.look_ahead) // self.chunk * self.chunk

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        def zeros(frames: int, width: int) -> Tensor:
            return torch.zeros(slots, frames, width, device=device, dtype=dtype)

        config = self.dit.config
        state: State = {"layers": self.dit.layers.init_state(slots, device, dtype)}
        if self.history is not None:
            state["clean"] = zeros(self.chunk, config.mel)
        state["given"] = zeros(self.look_ahead + self.chunk - 1, config.width - config.mel)
        return state

    def forward(self, frames: Frames) -> Frames:
        place, given = frames.place, frames.zeroed()
        count = -(-place.count // self.chunk) * self.chunk
        given = pad(given, (0, 0, 0, count + self.look_ahead - place.count))
        rows = torch.arange(len(given), device=given.device)
        state = self.init_state(len(given), given.device, given.dtype)
        return frames.like(self._solved(given, Place(place.start, place.stop, count), state, rows)[:, : place.count])

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        place = frames.place
        if place.count % self.chunk:
            raise ValueError(f"expected whole chunks of {self.chunk} frames, got {place.count} frames")
        seen, out = shift(state["given"], slots, frames.zeroed()), self.moved(place, place.count)
        begin = seen.shape[1] - place.count - (place.phase - out.phase)  # chunks need not begin where steps do
        given = seen[:, begin : begin + place.count + self.look_ahead]
        return Frames(self._solved(given, out, state, slots), out)

    def _solved(self, given: Tensor, out: Place, state: State, slots: Tensor) -> Tensor:
        """The mel frames at `out` from their conditions and those ahead of them, [b, t + ahead, d] -> [b, t, mel]."""
        made = []
        for begin in range(0, out.count, self.chunk):
            place = Place(out.start + begin, out.stop, self.chunk + self.look_ahead, out.phase)
            made.append(self._chunk(given[:, begin : begin + place.count], place, state, slots))
        return torch.cat(made, 1) if made else given.new_zeros(len(given), 0, self.noise.shape[1])

    def _chunk(self, given: Tensor, place: Place, state: State, slots: Tensor) -> Tensor:
        """One chunk, and what is ahead of it, from their conditions [b, chunk + ahead, d] -> [b, chunk, mel]."""
        z = self.sampling.temperature * noise_at(self.noise, place.index).to(given.dtype)
        before = []
        if self.history is not None:
            before = [self.history(chosen(state["clean"], slots))]
            place = Place(place.start - self.chunk, place.stop, self.chunk + place.count, place.phase - self.chunk)
        for i, span in enumerate(self.spans):
            noisy = self.dit.prepare(Frames(torch.cat([z, given], -1), place)).data
            time = list(self.times[i : i + 1].split(self.widths, -1))
            keep = self.chunk if i == len(self.spans) - 1 else 0
            x = Frames(torch.cat([*before, noisy], 1), place)
            u = self.dit.follow_step(x, state["layers"], slots, time, keep).data
            z = z + span * u[:, -z.shape[1] :]
        y = z[:, : self.chunk]
        if self.history is not None:
            state["clean"][slots] = y.to(state["clean"].dtype)
        return y
