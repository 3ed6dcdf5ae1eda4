"""The flow: speech tokens, a prompt and a speaker to mel frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from speech.errors import SpeechError
from speech.flow.dit import DiT, DiTConfig
from speech.flow.encoder import EncoderConfig, Front, Upsampler
from speech.flow.estimator import Estimator
from speech.flow.layers import Context, beside
from speech.flow.solver import Sampling, Solver, start_noise
from speech.flow.unet import UNet, UNetConfig
from speech.kernels.linear import Linear
from speech.streaming.frames import Frames
from speech.streaming.module import Pointwise, Sequential


@dataclass(frozen=True)
class FlowConfig:
    """Defaults: CosyVoice 2. vocabulary: speech tokens; speaker: size of the speaker vector; mel: bands of a frame.

    context, sampling: what streams run with unless they are asked for another. symbols: text symbols that a token may
    tell of beside its code (`Flow.token`); the code then need not say alone what is spoken.
    """

    vocabulary: int = 6561
    speaker: int = 192
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    estimator: UNetConfig | DiTConfig = field(default_factory=UNetConfig)
    context: Context = field(default_factory=Context)
    sampling: Sampling = field(default_factory=Sampling)
    symbols: int = 0

    @property
    def mel(self) -> int:
        """Bands of a mel frame."""
        return self.estimator.mel

    @property
    def rate(self) -> int:
        """Mel frames a token."""
        return self.encoder.rate


class Flow(nn.Module):
    """Tokens at 25 Hz to mel frames at 50 Hz, given a speaker and the mel of a prompt whose tokens come first.

    `conditioned` makes of tokens, speaker and prompt the frames that `pipeline` streams; `stream.FlowStream` runs one
    stream of it. What `pipeline` gives shares the weights as they are then: move, load and pack them before.
    """

    noise: Tensor

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        if config.estimator.rate != config.encoder.rate:
            raise ValueError(
                f"expected as many frames a token of the encoder as of the estimator, got {config.encoder.rate} and "
                f"{config.estimator.rate}"
            )
        self.config, encoder = config, config.encoder
        self.embedding = nn.Embedding(config.vocabulary, encoder.dim)
        self.symbols = nn.Embedding(config.symbols + 1, encoder.dim) if config.symbols else None
        self.speaker = Linear(config.speaker, config.mel)
        self.front = Front(encoder)
        self.upsampler = Upsampler(encoder, config.context)
        self.mu = nn.Identity() if encoder.plain else Linear(encoder.dim, config.mel)
        self.estimator: Estimator = (
            UNet(config.estimator, config.context)
            if isinstance(config.estimator, UNetConfig)
            else DiT(config.estimator, config.context)
        )
        self.register_buffer("noise", start_noise(config.mel), persistent=False)

    @property
    def width(self) -> int:
        """Channels of the frames that the pipeline takes."""
        return self.config.encoder.dim + self.riding

    @property
    def riding(self) -> int:
        """Of these, the channels of speaker and prompt mel for the mel frames of a token."""
        return self.config.rate * 2 * self.config.mel

    def token(self, code: int, symbol: int | None = None) -> int:
        """The token of a speech code that belongs to a text symbol; a code alone is a token, too."""
        return code if symbol is None or self.symbols is None else code + self.config.vocabulary * (symbol + 1)

    def conditioned(self, tokens: Tensor, speaker: Tensor, prompt: Tensor | None = None) -> Tensor:
        """The pipeline's input frames. tokens: [b, t]; speaker: [b, d]; prompt: [b, p, mel] -> [b, t, width].

        The prompt's mel frames belong to the first tokens, `rate` to each; frames after it have a mel of zeros.
        Negative tokens count as token 0. Raises SpeechError for tokens that are not in the vocabulary and for a prompt
        that is longer than the tokens.
        """
        (b, t), n, rate = tokens.shape, self.config.vocabulary, self.config.rate
        most = n * (self.config.symbols + 1) - 1
        if tokens.numel() and int(tokens.max()) > most:
            raise SpeechError(f"expected tokens of 0 .. {most}, got {int(tokens.max())}: use the model's own tokenizer")
        tokens = tokens.clamp(min=0)
        x = self.embedding(tokens if self.symbols is None else tokens % n)
        if self.symbols is not None:
            x = x + self.symbols(tokens // n)
        mel = x.new_zeros(b, 0, self.config.mel) if prompt is None else prompt.to(x)
        if mel.shape[1] > rate * t:
            raise SpeechError(
                f"expected a prompt of at most {rate * t} mel frames for {t} tokens, got {mel.shape[1]}: cut it"
            )
        mel = pad(mel, (0, 0, 0, rate * t - mel.shape[1]))
        voice = self.speaker(normalize(speaker.to(x), dim=-1))[:, None].expand(-1, rate * t, -1)
        return torch.cat([x, torch.cat([voice, mel], -1).unflatten(1, (t, rate)).flatten(2)], -1)

    def ahead(self) -> Sequential:
        """The part that streams in any chunks: input frames [b, t, width] -> [b, t, width], the look-ahead later."""
        return Sequential(ahead=beside(self.front, self.config.encoder.dim, self.riding))

    def encoder(self, context: Context | None = None) -> Sequential:
        """What is done once a frame: [b, t, width] from `ahead` -> conditions [b, rate * t, mu | speaker | prompt]."""
        upsampler = Sequential(upsampler=self.upsampler.at(context or self.config.context), mu=Pointwise(self.mu))
        return Sequential(upsampled=beside(upsampler, self.config.encoder.dim, self.riding))

    def solver(self, context: Context | None = None, sampling: Sampling | None = None) -> Solver:
        """What is done in every evaluation of the velocity: conditions -> mel frames."""
        estimator = self.estimator.at(context or self.config.context)
        return Solver(estimator, self.noise, sampling or self.config.sampling)

    def pipeline(self, context: Context | None = None, sampling: Sampling | None = None) -> Sequential:
        """All of it as one streamable module. Input frames [b, t, width] -> mel frames [b, rate * t, mel]."""
        return Sequential(ahead=self.ahead(), encoder=self.encoder(context), solver=self.solver(context, sampling))

    def forward(
        self,
        tokens: Tensor,
        speaker: Tensor,
        prompt: Tensor | None = None,
        lengths: Tensor | None = None,
        context: Context | None = None,
        sampling: Sampling | None = None,
    ) -> Frames:
        """Whole signals. tokens: [b, t], the prompt's first; speaker: [b, d]; prompt: [b, p, mel]; lengths: [b] tokens.

        Returns mel frames [b, rate * t, mel], those of the prompt included.
        """
        return self.pipeline(context, sampling)(Frames.whole(self.conditioned(tokens, speaker, prompt), lengths))
