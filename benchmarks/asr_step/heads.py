"""Heads that say something without having been trained."""

from __future__ import annotations

import torch
from torch import Tensor

from speech.asr.greedy import RNNTGreedy
from speech.asr.heads import Joint, Prediction
from speech.streaming.frames import Frames

RATE = 0.3  # tokens that a frame of 80 ms of speech gives
REACH, LEVEL = 1.5, 10.0  # how far a token pushes the next one away; a level that keeps units above zero


@torch.no_grad()
def speak(prediction: Prediction, joint: Joint, frames: Tensor) -> None:
    """Set the joint network so that about `RATE` tokens a frame come, for one `frames` [t, d] and others like them.

    Random heads say one token without end, or none. These say token 0 when the component of the frames that changes
    most is high, token 1 when it is low, and hardly the same twice: the prediction network remembers what was said.
    """
    assert joint.enc.bias is not None and joint.pred.bias is not None and joint.out.bias is not None
    mean, changes = frames.mean(0), frames.diff(dim=0)
    sound = torch.linalg.svd(changes, full_matrices=False).Vh[0]
    sound /= ((frames - mean) @ sound).std()
    after = prediction(torch.tensor([[0, 1] * 8]))[0, -2:]  # [2, d]: having said token 0, and token 1
    said = 2 * (after[0] - after[1]) / (after[0] - after[1]).square().sum()
    for linear in (joint.enc, joint.pred, joint.out):
        linear.unpack()
        linear.weight.zero_()
        linear.bias.zero_()
    joint.out.bias.fill_(-100)
    for token, sign in ((0, 1.0), (1, -1.0)):
        joint.enc.weight[token], joint.enc.bias[token] = sign * sound, LEVEL - sign * sound @ mean
        joint.pred.weight[token], joint.pred.bias[token] = -sign * REACH * said, sign * REACH * said @ after.mean(0)
        joint.out.weight[token, token], joint.out.bias[token] = 1.0, 0.0
    low, high = 0.0, 4.0
    for _ in range(10):
        middle = (low + high) / 2
        joint.out.bias[-1] = LEVEL + REACH + middle
        tokens = len(RNNTGreedy(prediction, joint).decode(Frames.whole(frames[None]))[0])
        low, high = (middle, high) if tokens > RATE * len(frames) else (low, middle)
