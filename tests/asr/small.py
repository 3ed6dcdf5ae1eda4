"""A tiny recogniser with random weights that says something: tokens and blanks mix. And signals for it."""

from __future__ import annotations

import numpy as np
import torch

from speech.asr.encoder import EncoderConfig
from speech.asr.model import FastConformer, FastConformerConfig, PredictionConfig

PIECES = 40


def small_model(seed: int = 1) -> FastConformer:
    """Random weights, look-aheads 160, 80 and 0 ms.

    Encoder frames are whitened in the heads, else random networks say one thing all the time, and the blank's bias is
    set so that tokens and blanks mix.
    """
    torch.manual_seed(seed)
    encoder = EncoderConfig(
        dim=16, layers=2, heads=2, ff_expansion=2, subsampling_channels=4, contexts=((6, 2), (6, 1), (6, 0))
    )
    prediction = PredictionConfig(dim=16, layers=2, joint_dim=32)
    model = FastConformer(FastConformerConfig(encoder=encoder, vocabulary=PIECES, prediction=prediction)).eval()
    ctc, predict, joint = model.ctc, model.prediction, model.joint
    assert ctc and predict and joint
    samples = torch.from_numpy(np.concatenate([noise(1.5, k) for k in range(4)]))[None]
    with torch.no_grad():
        frames = model(samples, torch.tensor([samples.shape[1]]))[0]
        values, vectors = torch.linalg.eigh(torch.cov(frames[0].T))
        whiten = (vectors * values.clamp(min=1e-3 * float(values.max())).rsqrt()).T
        for linear in (ctc.out, joint.enc):
            linear.weight.copy_(torch.randn_like(linear.weight) @ whiten)
            linear.bias.copy_(-linear.weight @ frames[0].mean(0))
        for weight in (*predict.parameters(), *joint.pred.parameters(), joint.out.weight):
            weight.normal_()
        joint.pred.weight.mul_(3)  # what was said must change what is said next, or bursts of one token fill a frame
        pairs = joint(frames, predict(torch.randint(PIECES, (1, 50))))
        for out, score, blanks in ((ctc.out, ctc.out(frames), 0.6), (joint.out, pairs, 0.85)):
            out.bias[-1] += (score[..., :-1].amax(-1) - score[..., -1]).flatten().quantile(blanks)
    return model


def noise(seconds: float, seed: int = 0, rate: int = 16000) -> np.ndarray:
    """Coloured noise whose loudness wanders: [n] float32."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    t = np.arange(n) / rate
    tone = sum(np.sin(2 * np.pi * f * t * (1 + 0.3 * np.sin(t * f / 90))) for f in (180, 430, 1100, 2300))
    loud = np.interp(
        t, np.linspace(0, seconds, max(2, round(seconds * 6))), rng.uniform(0, 1, max(2, round(seconds * 6))) ** 3
    )
    return (0.2 * loud * (tone + rng.standard_normal(n))).astype(np.float32)
