"""The converter's network: content features and a target voice to mel frames."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from speech.errors import SpeechError
from speech.flow.dit import DiT, DiTConfig
from speech.flow.layers import Context, sharing
from speech.flow.solver import Sampling, start_noise
from speech.kernels.linear import Linear
from speech.streaming.frames import Frames, Place
from speech.streaming.module import Sequential
from speech.vc.advance import Advance
from speech.vc.conditions import Conditions
from speech.vc.interpolate import Interpolate
from speech.vc.solver import ChunkSolver
from speech.vc.timbre import PromptConfig, PromptTimbre, Target, Timbre, TokenConfig, TokenTimbre


@dataclass(frozen=True)
class ConverterConfig:
    """Defaults: MeanVC at 200 ms. content, speaker: size of content features and of the speaker vector; mel: bands.

    rate: mel frames a content feature. timbre: how content meets the target. dim .. time_scale: see `DiTConfig`. given:
    size of what the content encoder gives, where it is projected to `content`; advance: features by which it comes
    late, and which the network waits for (see `Advance`).

    chunk: mel frames that are made at once. past: chunks before its own that a frame sees; ahead: frames of the next
    chunk that it sees; one number for each layer, or one for all. history: the past is made of what was put out;
    otherwise it is what the layers kept from making it. sampling: what streams run with unless asked for another.

    Raises SpeechError for a chunk or a look-ahead that is no whole number of content features.
    """

    content: int = 256
    speaker: int = 256
    mel: int = 80
    rate: int = 4
    timbre: PromptConfig | TokenConfig = field(default_factory=PromptConfig)
    dim: int = 512
    layers: int = 4
    heads: int = 2
    head_dim: int = 64
    ff_expansion: int = 2
    dropout: float = 0.0
    time_scale: float = 1000.0
    chunk: int = 20
    past: tuple[int, ...] = (5,)
    ahead: tuple[int, ...] = (0,)
    history: bool = True
    given: int | None = None
    advance: int = 0
    sampling: Sampling = field(default_factory=lambda: Sampling(2, 0.0, True, (1.0, 0.8, 0.0)))

    def __post_init__(self) -> None:
        if self.chunk < 1 or any(n % self.rate for n in (self.chunk, *self.ahead)):
            raise SpeechError(
                f"expected a chunk and a look-ahead of a multiple of {self.rate} mel frames, which are one content "
                f"feature, got {self.chunk} and {max(self.ahead)}: round them up"
            )
        if any(len(numbers) not in (1, self.layers) for numbers in (self.past, self.ahead)):
            raise SpeechError(
                f"expected a past and a look-ahead for each of {self.layers} layers, or one for all, got {self.past} "
                f"and {self.ahead}: correct them"
            )

    @classmethod
    def second(cls, chunk: int = 12) -> ConverterConfig:
        """MeanVC 2: 120 + 40 ms by default, 40 + 40 ms with a chunk of 4."""
        return cls(
            timbre=TokenConfig(),
            chunk=chunk,
            past=(2, 2, 1, 1),
            ahead=(4, 0, 0, 0),
            history=False,
            sampling=Sampling(2, 0.0, True),
        )

    @cached_property
    def dit(self) -> DiTConfig:
        """Of the velocity network."""
        return DiTConfig(
            mel=self.mel,
            inputs=self.mel + self.content + self.speaker,
            dim=self.dim,
            layers=self.layers,
            heads=self.heads,
            head_dim=self.head_dim,
            ff_expansion=self.ff_expansion,
            position_conv=0,
            rotary_heads=None,
            qk_norm=True,
            dropout=self.dropout,
            interval=True,
            time_scale=self.time_scale,
            rate=1,
        )

    @property
    def contexts(self) -> tuple[Context, ...]:
        """What each layer sees, in mel frames."""
        past, ahead = (numbers * (self.layers // len(numbers)) for numbers in (self.past, self.ahead))
        return tuple(Context(self.chunk, n * self.chunk, ahead=a) for n, a in zip(past, ahead, strict=True))


class ConverterNetwork(nn.Module):
    """Content features at 25 Hz to mel frames at 100 Hz (with the default sizes) in the voice of a target.

    `target` is computed once for a voice. `pipeline` streams content features to mel frames, each stream in the voice
    that was written into its state; `forward` is what training differentiates. All pipelines of one network, chunk size
    and room have state of one layout, and the sampling is not in it: to change the number of steps, step the state of a
    stream with another pipeline, from any chunk on. What `pipeline` gives takes the weights as they are then: move,
    load and pack them before.
    """

    noise: Tensor

    def __init__(self, config: ConverterConfig) -> None:
        super().__init__()
        self.config, timbre = config, config.timbre
        self.timbre: Timbre = (
            PromptTimbre(timbre, config.content, config.speaker, config.mel)
            if isinstance(timbre, PromptConfig)
            else TokenTimbre(timbre, config.content, config.speaker)
        )
        self.project = Linear(config.given, config.content) if config.given else None
        self.dit = DiT(config.dit, config.contexts)
        self.history = Linear(config.mel, config.dim) if config.history else None
        self.register_buffer("noise", start_noise(config.mel), persistent=False)

    def at(self, chunk: int) -> ConverterNetwork:
        """This network, its very parameters, with another chunk size. Raises SpeechError as the configuration does."""
        if chunk == self.config.chunk:
            return self
        config = replace(self.config, chunk=chunk)
        other = sharing(self, lambda: ConverterNetwork(config))
        other.noise = self.noise
        return other

    def target(self, speaker: Tensor, mel: Tensor | None = None, lengths: Tensor | None = None) -> Target:
        """The target of speaker vectors [b, s] and reference mel frames [b, p, mel], of which `lengths` [b] count.

        Only a network with a `PromptTimbre` needs mel frames; raises SpeechError where it gets none.
        """
        return self.timbre.target(speaker, mel, lengths)

    def lead(self) -> Sequential:
        """What the content encoder gives, [b, t, given or content], to content [b, rate * t, content] in its time."""
        stages: dict[str, nn.Module] = {"advance": Advance(self.config.advance)} if self.config.advance else {}
        if self.project is not None:
            stages["project"] = self.project
        return Sequential(**stages, interpolate=Interpolate(self.config.content, self.config.rate))

    def conditioned(self, content: Tensor, target: Target) -> Tensor:
        """The solver's conditions. content: [b, t, content] at the mel's rate -> [b, t, content + speaker].

        Zeros in their stead are the network without conditions.
        """
        return self.timbre.conditions(content, target)

    def solver(self, sampling: Sampling | None = None, noise: Tensor | None = None) -> ChunkSolver:
        """Conditions [b, t, content + speaker] to mel frames [b, t, mel]. noise: [n, mel], see `ChunkSolver`."""
        config, noise = self.config, self.noise if noise is None else noise
        return ChunkSolver(self.dit, self.history, config.chunk, max(config.ahead), noise, sampling or config.sampling)

    def pipeline(self, room: int = 1, sampling: Sampling | None = None, noise: Tensor | None = None) -> Sequential:
        """What the content encoder gives, [b, t, given or content], to mel frames [b, rate * t, mel].

        The target of a stream is written into the state of the stage `timbre`, see `Conditions`. room: frames of the
        longest reference that a target may have, where the network has a `PromptTimbre`.
        """
        return Sequential(
            **dict(self.lead().named_children()),
            timbre=Conditions(self.timbre, self.config.speaker, room),
            solver=self.solver(sampling, noise),
        )

    def forward(
        self,
        z: Tensor,
        t: Tensor,
        r: Tensor,
        conditions: Tensor,
        lengths: Tensor,
        clean: Tensor | None = None,
        *,
        alone: bool = False,
    ) -> Tensor:
        """Average velocities over [r, t] of whole signals, each frame seeing what it sees in a stream: [b, n, mel].

        z: noisy mel frames [b, n, mel]; t, r: [b]; conditions: [b, n, content + speaker]; lengths: [b] frames; clean:
        for a network with history, the frames that stand for what was put out [b, n, mel]. They run before the noisy
        ones, at the same positions. alone: clean chunks see only themselves, as MeanVC trains, and not the chunks
        before them, too, as in streams.
        """
        x, allowed = self.prepared(z, conditions, lengths, clean, alone=alone)
        return self.dit.follow(x, self.dit.modulate(t, r), allowed).data[:, -z.shape[1] :]

    def prepared(
        self, z: Tensor, conditions: Tensor, lengths: Tensor, clean: Tensor | None, *, alone: bool = False
    ) -> tuple[Frames, Tensor | None]:
        """What the transformer's layers are given for `forward`, [b, n or 2 n, dim], and what sees what there."""
        frames = Frames.whole(torch.cat([z, conditions], -1), lengths)
        if self.history is None:
            return self.dit.prepare(frames), None
        if clean is None:
            raise ValueError("expected clean frames for a network that sees what was put out, got none")
        place = Halves(frames.place.start, lengths, 2 * z.shape[1])
        x = torch.cat([self.history(clean), self.dit.prepare(frames).data], 1)
        return Frames(x, place), place.allowed(self.config.chunk, alone)


class Halves(Place):
    """Where two signals of the same frames lie, clean and noisy, one behind the other, both at indices 0 .. n - 1."""

    @cached_property
    def index(self) -> Tensor:
        return self.start[:, None] + torch.arange(self.count, device=self.start.device).remainder(self.count // 2)

    def allowed(self, chunk: int, alone: bool) -> Tensor:
        """[2n, 2n] bool: noisy frames see clean chunks before their own and themselves, clean frames clean ones."""
        i = torch.arange(self.count, device=self.start.device)
        noisy, own = i >= self.count // 2, i.remainder(self.count // 2).div(chunk, rounding_mode="floor")
        same = own[:, None] == own
        among = (noisy[:, None] == noisy) & (same | (~noisy & (not alone)))
        return among | (noisy[:, None] & ~noisy & ~same)
