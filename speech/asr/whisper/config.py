"""Sizes of Whisper (Radford et al. 2022, arXiv 2212.04356) and the blocks in which its encoder listens."""

from __future__ import annotations

from dataclasses import dataclass, replace

from speech.audio.mel import WHISPER, WHISPER_STREAMING, MelConfig
from speech.errors import SpeechError

FACTOR = 2
"""Mel frames to an encoder frame."""

SIZES: dict[str, tuple[int, int, int]] = {
    "tiny": (384, 4, 4),
    "base": (512, 6, 6),
    "small": (768, 12, 12),
    "medium": (1024, 24, 24),
    "large": (1280, 32, 32),
    "large-v2": (1280, 32, 32),
    "large-v3": (1280, 32, 32),
    "turbo": (1280, 32, 4),
}
"""Width, encoder layers and decoder layers of the public models."""

ENGLISH = ("tiny", "base", "small", "medium")
"""Sizes that there are for English alone, too: "tiny.en" and so on, with another vocabulary."""

HEAD = 64
"""Width of an attention head in all public models."""


@dataclass(frozen=True)
class Context:
    """What a frame of the encoder sees, in frames of 20 ms.

    chunk: frames that see one another. left: how many before their chunk they see besides, whole chunks. initial: so
    many first frames of a stream, whole chunks, see one another; they must come in one step. sinks: first frames that
    stay visible for ever. restart: where positions begin again when a stream has run through all that were trained
    (see `encoder.Positions`).

    Raises SpeechError for contexts that cannot be run.
    """

    chunk: int
    left: int = 0
    initial: int = 0
    sinks: int = 0
    restart: int = 0

    def __post_init__(self) -> None:
        uneven = self.chunk < 1 or self.left % self.chunk or self.initial % self.chunk
        if uneven or min(self.left, self.initial, self.sinks, self.restart) < 0:
            raise SpeechError(
                "expected a chunk of at least 1 frame, left and initial of whole chunks, and sinks and restart of at "
                f"least 0, got {self}: correct them"
            )

    @classmethod
    def causal(cls, chunk: int, initial: int = 0, positions: int = 1500, sinks: int = 0) -> Context:
        """Block-causal: a frame sees all that its stream had before in the span of the positions (30 s)."""
        return cls(chunk, (positions - 1) // chunk * chunk, initial, sinks, positions // 2)

    @classmethod
    def windows(cls, positions: int = 1500) -> Context:
        """Plain Whisper: windows of 30 s, each seen whole and by itself."""
        return cls(positions)

    @property
    def milliseconds(self) -> int:
        """Duration of a chunk."""
        return 20 * self.chunk


@dataclass(frozen=True)
class WhisperConfig:
    """A Whisper. Defaults: plain multilingual tiny.

    positions: encoder frames of 20 ms that have a position of their own; so many are kept for the decoder to attend to.
    tokens: positions of the decoder. vocabulary: 51864 (English), 51865 (multilingual) or 51866 (from large-v3 on).
    contexts: those that the model was trained for; the first is the default. alignment_heads: layer and head of the
    decoder where cross attention follows the sound, for the times of words; None for all in the upper half of the
    layers. compatible: in causal contexts features come as the published code has them, see `published.PieceMel`; so
    it is for files that were published, whose weights learnt from such.

    Raises SpeechError for sizes that do not fit one another.
    """

    mel: MelConfig = WHISPER
    dim: int = 384
    encoder_layers: int = 4
    encoder_heads: int = 6
    decoder_layers: int = 4
    decoder_heads: int = 6
    vocabulary: int = 51865
    positions: int = 1500
    tokens: int = 448
    contexts: tuple[Context, ...] = (Context.windows(),)
    alignment_heads: tuple[tuple[int, int], ...] | None = None
    compatible: bool = False

    def __post_init__(self) -> None:
        sizes = (self.encoder_layers, self.decoder_layers, self.vocabulary, self.positions, self.tokens)
        heads = (self.encoder_heads, self.decoder_heads)
        if min(sizes) < 1 or min(heads) < 1 or self.dim < 4 or self.dim % 2 or any(self.dim % h for h in heads):
            raise SpeechError(
                f"expected sizes of at least 1 and an even width that the heads divide, got {self}: correct them"
            )
        streaming = [c for c in self.contexts if c.left]
        if (
            not self.contexts
            or any(c.restart >= self.positions for c in self.contexts)
            or any(max(c.chunk, c.initial) > self.positions for c in streaming)
        ):
            raise SpeechError(
                f"expected at least one context, restarting below the {self.positions} positions, and chunks and "
                f"initial blocks of streams within them, got {list(self.contexts)}: correct them"
            )
        strange = [
            [layer, head]
            for layer, head in self.alignment_heads or ()
            if layer not in range(self.decoder_layers) or head not in range(self.decoder_heads)
        ]
        if strange:
            raise SpeechError(
                f"expected alignment heads among the {self.decoder_heads} of {self.decoder_layers} decoder layers, got "
                f"{strange} (layer and head, from 0 on): correct them"
            )

    @classmethod
    def public(cls, name: str, contexts: tuple[Context, ...] = ()) -> WhisperConfig:
        """A public model by its name, "tiny" to "turbo" or "tiny.en" to "medium.en".

        contexts: none for the model as it is published. Raises SpeechError for a name that is none.
        """
        size, _, language = name.partition(".")
        if size not in SIZES or language not in (("", "en") if size in ENGLISH else ("",)):
            raise SpeechError(
                f"expected the name of a public Whisper ({', '.join(SIZES)}; tiny.en to medium.en), got {name!r}"
            )
        (dim, encoder, decoder), newest = SIZES[size], size in ("large-v3", "turbo")
        return cls(
            replace(WHISPER_STREAMING if contexts else WHISPER, features=128 if newest else 80),
            dim,
            encoder,
            dim // HEAD,
            decoder,
            dim // HEAD,
            vocabulary=51864 if language else 51866 if newest else 51865,
            contexts=contexts or (Context.windows(),),
        )

    @property
    def frame(self) -> float:
        """Seconds of an encoder frame."""
        return FACTOR * self.mel.hop / self.mel.sample_rate

    @property
    def causal(self) -> bool:
        """Whether the model was trained to stream: its chunks see what came before them."""
        return any(context.left for context in self.contexts)

    def context(self, milliseconds: int | None = None) -> Context:
        """The context with chunks of so many milliseconds, the default one for None.

        Raises SpeechError where the model was not trained for such chunks.
        """
        if milliseconds is None:
            return self.contexts[0]
        trained = {context.milliseconds: context for context in self.contexts}
        if milliseconds not in trained:
            raise SpeechError(
                f"expected chunks that this model was trained for ({', '.join(map(str, sorted(trained)))} ms), got "
                f"{milliseconds} ms: choose one of these"
            )
        return trained[milliseconds]
