"""What a trained encoder hears in the mel frames that a network makes: losses that ask for words and not for frames.

Such perceptual losses (Johnson et al. 2016, arXiv 1603.08155) tell a network what of its frames matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import nll_loss, pad

from recipes.tts_small.content_training import CLASSES
from recipes.tts_small.tracks import SILENCE, unstressed
from speech.content.encoder import ContentEncoder
from speech.errors import SpeechError
from speech.flow.solver import Sampling
from speech.hub.checkpoint import load_folder
from speech.hub.find import locate
from speech.streaming.frames import Frames
from speech.tts.text.inventory import BORDER, PADDING, PAUSES, SYMBOLS

RIDGE = 1e-2
"""Of the regression in `Translation`, as a share of the variance of all bands."""

LATE = 1
"""Frames of content by which the encoder tells a phone behind its symbol: it hears a little of what follows."""

UNHEARD = -100
"""The class of what stands for no phone, or for one that nobody knows."""


@dataclass(frozen=True)
class ListenConfig:
    """share: of the rows of a batch that are made as a stream makes them, and listened to. weight: of the loss. model:
    a converter whose content encoder listens: one that others than the codes were made of."""

    share: float = 0.0
    weight: float = 0.3
    model: str = "vc"


class Translation:
    """Mel frames of one definition as those of another: a linear map of a frame and its neighbours.

    Fitted by ridge regression on frames of the same sound in both. mel: [b, t, d]; other: [b, t, e].
    """

    def __init__(self, mel: Tensor, other: Tensor) -> None:
        x, y = _neighbours(mel).flatten(0, 1), other.flatten(0, 1)
        self.x, self.y = x.mean(0), y.mean(0)
        x, y = x - self.x, y - self.y
        square = x.T @ x
        square.diagonal().add_(RIDGE * square.diagonal().mean())
        self.weight = torch.linalg.solve(square, x.T @ y)

    def __call__(self, mel: Tensor) -> Tensor:
        """[b, t, d] -> [b, t, e]."""
        return (_neighbours(mel) - self.x) @ self.weight + self.y


def _neighbours(mel: Tensor) -> Tensor:
    """Each frame beside those before and after it. [b, t, d] -> [b, t, 3 d]."""
    x = pad(mel.transpose(1, 2), (1, 1), mode="replicate").transpose(1, 2)
    return torch.cat([x[:, :-2], x[:, 1:-1], x[:, 2:]], -1)


class PhoneListener:
    """Phones in mel frames as a network makes them.

    encoder: with a head for phones; samples: [b, n], whose frames `inner` are mel, [b, t, mel], in the network's own
    definition, from which it learns to translate.
    """

    def __init__(self, encoder: ContentEncoder, samples: Tensor, mel: Tensor, inner: slice) -> None:
        self.encoder = encoder
        self.translation = Translation(mel, encoder.mel(Frames.whole(samples)).data[:, inner])

    def scores(self, mel: Tensor) -> Tensor:
        """Log-probabilities of phones. [b, t, mel] -> [b, ceil(t / 4), phones]."""
        return self.encoder.from_mel("scores")(Frames.whole(self.translation(mel))).data.float()

    def wrong(self, mel: Tensor, phones: Tensor) -> Tensor:
        """Cross entropy of what was to be heard, 0 where that is not known of any frame.

        mel: [b, t, mel]; phones: [b, t / 4] classes or UNHEARD.
        """
        total = nll_loss(self.scores(mel).transpose(1, 2), phones, ignore_index=UNHEARD, reduction="sum")
        return total / (phones != UNHEARD).sum().clamp(min=1)


def sampled(network: Callable[[Tensor, Tensor, Tensor], Tensor], noise: Tensor, sampling: Sampling) -> Tensor:
    """What a mean flow makes of noise: [b, t, d] -> [b, t, d], float32. network: (z, t, r) -> average velocity.

    The gradient reaches the last step alone (Clark et al. 2023, arXiv 2309.17400).
    """
    z = sampling.temperature * noise
    for i, (start, end) in enumerate(pairwise(sampling.grid().tolist())):
        t, r = (z.new_full((len(z),), time) for time in (start, end))
        with torch.set_grad_enabled(torch.is_grad_enabled() and i == sampling.steps - 1):
            z = z - (start - end) * network(z, t, r).float()
    return z


def listener(name: str) -> ContentEncoder:
    """The content encoder of a converter, as it was trained. Raises SpeechError where it tells no phones of ours."""
    model = load_folder(locate(name)).model
    encoder = getattr(model, "content", None)
    if not isinstance(encoder, ContentEncoder) or encoder.config.vocabulary != len(CLASSES):
        raise SpeechError(
            f"expected a converter with a content encoder of {len(CLASSES)} phones to listen, {name} is none: name "
            "another as listen.model"
        )
    return encoder.eval().requires_grad_(False)


def heard_as(symbols: Tensor) -> Tensor:
    """The classes that an encoder should hear where symbols are spoken. symbols: [b, t] ids, -1 for none -> [b, t]."""
    classes = torch.as_tensor(_CLASS, device=symbols.device)[symbols]
    return pad(classes[:, :-LATE], (LATE, 0), value=UNHEARD)


def _class(symbol: str) -> int:
    if symbol in (PADDING, BORDER):
        return UNHEARD
    return CLASSES.index(SILENCE if symbol in PAUSES else unstressed(symbol))


_CLASS = np.array([*map(_class, SYMBOLS), UNHEARD])
"""The class of a symbol, by its id; the last is for -1."""
