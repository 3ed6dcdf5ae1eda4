"""The flow and its parts, small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from speech.flow.dit import DiT, DiTConfig
from speech.flow.encoder import EncoderConfig, Front, Upsampler
from speech.flow.layers import Context, Split, beside
from speech.flow.model import Flow, FlowConfig
from speech.flow.solver import Sampling, Solver, start_noise
from speech.flow.unet import UNet, UNetConfig
from speech.streaming.conv import Conv1d
from speech.streaming.module import Sequential, Streaming
from tests.streaming.case import Case

MEL = 4
CONTEXT = Context(chunk=3, left=6)
ENCODER = EncoderConfig(dim=8, ahead_hidden=6, layers=1, up_layers=1, heads=2, ff_hidden=12)
PLAIN = EncoderConfig(dim=MEL, ahead_hidden=6, layers=0, up_layers=0)
UNET = UNetConfig(mel=MEL, dim=8, time_dim=8, layers=1, middle=1, heads=2, head_dim=3)
DIT = DiTConfig(mel=MEL, dim=16, layers=2, heads=2, head_dim=4, position_conv=4)
MEAN_DIT = DiTConfig(mel=MEL, dim=8, layers=1, heads=1, head_dim=4, position_conv=0, qk_norm=True, interval=True)
TWO_STEPS = Sampling(steps=2)
MEAN = Sampling(steps=2, guidance=0.0, mean=True)


def _encoder(config: EncoderConfig, context: Context) -> Streaming:
    return Sequential(front=Front(config), upsampler=Upsampler(config, CONTEXT).at(context))


def _solver(build: Callable[[Context], UNet | DiT], context: Context, sampling: Sampling) -> Streaming:
    return Solver(build(CONTEXT).at(context), start_noise(MEL, 50), sampling)


def _pipeline(encoder: EncoderConfig, estimator: UNetConfig | DiTConfig) -> Streaming:
    return Flow(FlowConfig(9, 5, encoder, estimator, CONTEXT, TWO_STEPS)).pipeline()


WIDTH = 2 * 2 * MEL  # channels of speaker and prompt mel beside a token's embedding

CASES: dict[str, Case] = {
    "split": Case(lambda: Split(3)),
    "beside": Case(lambda: beside(Conv1d(2, 3, 1, 2), 2, 4)),
    "flow encoder": Case(partial(_encoder, ENCODER, CONTEXT), (8,)),
    "flow encoder with sinks": Case(partial(_encoder, ENCODER, Context(2, 2, sinks=3)), (8,)),
    "flow encoder plain": Case(partial(_encoder, PLAIN, CONTEXT), (MEL,)),
    "unet solver": Case(partial(_solver, partial(UNet, UNET), CONTEXT, TWO_STEPS), (3 * MEL,)),
    "unet solver with sinks": Case(partial(_solver, partial(UNet, UNET), Context(2, 4, 3), TWO_STEPS), (3 * MEL,)),
    "dit solver": Case(partial(_solver, partial(DiT, DIT), CONTEXT, TWO_STEPS), (3 * MEL,)),
    "mean-flow solver": Case(partial(_solver, partial(DiT, MEAN_DIT), Context(2, 0), MEAN), (3 * MEL,)),
    "flow of unet": Case(partial(_pipeline, ENCODER, UNET), (8 + WIDTH,)),
    "flow of four frames a token": Case(
        partial(_pipeline, replace(ENCODER, rate=4), replace(UNET, rate=4)), (8 + 2 * WIDTH,)
    ),
    "flow of dit": Case(partial(_pipeline, PLAIN, DIT), (MEL + WIDTH,)),
}
