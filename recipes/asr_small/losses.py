"""What training minimises: CTC at two depths, the transducer, and the frame targets of forced alignments."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, ctc_loss, pad

from recipes.asr_small.dataset import Batch
from recipes.asr_small.targets import IGNORED
from speech.asr.encoder import Encoder
from speech.asr.model import FastConformer
from speech.kernels.backend import launches
from speech.kernels.transducer_loss import joint_transducer_loss, transducer_loss
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


def transducer(model: FastConformer, frames: Frames, batch: Batch, fastemit: float, cells: int = 0) -> Tensor:
    """Nats per token (Graves 2012, arXiv 1211.3711). frames: [b, t, d].

    cells: on a CUDA device, for how many pairs of a frame and a label scores exist at a time; 0: for all of them.
    """
    assert model.prediction is not None and model.joint is not None
    joint, predicted = model.joint, model.prediction(batch.tokens)
    blank, spoken = joint.out.out_features - 1, batch.token_lengths
    if cells and launches(frames.data):
        weights = joint.enc(frames.data), joint.pred(predicted), joint.out.weight, joint.out.bias
        lattice = batch.tokens, frames.lengths, spoken, blank, fastemit
        dropout = joint.dropout.p if joint.training else 0.0
        return joint_transducer_loss(*weights, *lattice, dropout=dropout, cells=cells).sum() / spoken.sum()
    scores = joint(frames.data, predicted)
    fits = scores.is_cuda and not fastemit and scores.dtype in (torch.float32, torch.float16)
    if fits and (fused := torchaudio_loss()):
        each = fused(scores, batch.tokens, frames.lengths, spoken, blank)
    else:
        each = transducer_loss(scores, batch.tokens, frames.lengths, spoken, blank, fastemit)
    return each.sum() / spoken.sum()


def torchaudio_loss() -> Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor] | None:
    """torchaudio's transducer loss with the arguments of `transducer_loss`; None where torchaudio does not import.

    It knows no FastEmit and no bfloat16, and keeps the gradient from its forward pass on: one more tensor of the size
    of the scores.
    """
    try:
        from torchaudio.functional import rnnt_loss
    except (ImportError, OSError, RuntimeError):  # not installed; beside a torch without CUDA; of another CUDA version
        return None

    def loss(scores: Tensor, targets: Tensor, frames: Tensor, labels: Tensor, blank: int) -> Tensor:
        """Shapes as for `transducer_loss`; torchaudio wants no more padding than the longest item needs."""
        t, u = int(frames.max()), int(labels.max())
        integers = (x.int().contiguous() for x in (targets[:, :u], frames, labels))
        return rnnt_loss(scores[:, :t, : u + 1].contiguous(), *integers, blank, reduction="none")

    return loss


def alignment(head: nn.Linear, frames: Frames, batch: Batch) -> Tensor:
    """Nats per frame that has a target; zero where none has. frames: [b, t, d]."""
    with torch.autocast(frames.data.device.type, enabled=False):
        scores = head(frames.data.float())
    targets = pad(batch.targets, (0, scores.shape[1] - batch.targets.shape[1]), value=IGNORED)  # a negative pad cuts
    total = cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / (targets != IGNORED).sum().clamp(min=1)
