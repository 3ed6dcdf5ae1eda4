"""What training minimises: CTC at two depths, the transducer, and the frame targets of forced alignments."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, ctc_loss, pad

from recipes.asr_small.dataset import Batch
from recipes.asr_small.targets import IGNORED
from speech.asr.encoder import Encoder
from speech.asr.model import FastConformer
from speech.kernels.transducer_loss import transducer_loss
from speech.streaming.frames import Frames
from speech.streaming.module import Sequential


def halves(encoder: Encoder) -> tuple[Sequential, Sequential]:
    """The encoder cut after its middle layer, whose output has losses of its own; the very same parameters."""
    parts = dict(encoder.named_children())
    layers = list(parts.pop("layers").named_children())
    middle = (len(layers) + 1) // 2
    return Sequential(**parts, **dict(layers[:middle])), Sequential(**dict(layers[middle:]))


def ctc(model: FastConformer, frames: Frames, batch: Batch) -> Tensor:
    """Nats per token (Graves et al. 2006). frames: [b, t, d]."""
    assert model.ctc is not None
    log_p = model.ctc(frames.data).transpose(0, 1)
    blank, spoken = log_p.shape[-1] - 1, batch.token_lengths
    each = ctc_loss(log_p, batch.tokens, frames.lengths, spoken, blank, reduction="none", zero_infinity=True)
    return each.sum() / spoken.sum()


def transducer(model: FastConformer, frames: Frames, batch: Batch, fastemit: float) -> Tensor:
    """Nats per token (Graves 2012, arXiv 1211.3711). frames: [b, t, d]."""
    assert model.prediction is not None and model.joint is not None
    scores = model.joint(frames.data, model.prediction(batch.tokens))
    blank, spoken = scores.shape[-1] - 1, batch.token_lengths
    return transducer_loss(scores, batch.tokens, frames.lengths, spoken, blank, fastemit).sum() / spoken.sum()


def alignment(head: nn.Linear, frames: Frames, batch: Batch) -> Tensor:
    """Nats per frame that has a target; zero where none has. frames: [b, t, d]."""
    with torch.autocast(frames.data.device.type, enabled=False):
        scores = head(frames.data.float())
    targets = pad(batch.targets, (0, scores.shape[1] - batch.targets.shape[1]), value=IGNORED)  # a negative pad cuts
    total = cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / (targets != IGNORED).sum().clamp(min=1)
