"""Stage `flow`: trains the flow, which makes mel frames of speech codes in the voice of a speaker vector."""

from __future__ import annotations

from functools import partial

from recipes.tts_small.codes import load_codes
from recipes.tts_small.flow_training import FlowStretches, FlowTraining
from recipes.tts_small.parts import train, trained
from recipes.tts_small.pools import pools, stretch_data
from recipes.tts_small.settings import Settings
from recipes.tts_small.speaker import load_vectors
from speech.audio.mel import LogMel
from speech.flow.model import Flow


def flow(settings: Settings) -> None:
    """Train until `flow.optim.steps`, or for `trainer.minutes`; goes on from the newest checkpoint."""
    config, model = settings.flow_crops, Flow(settings.flow)
    module = FlowTraining(model, LogMel(settings.mel), settings.flow_optim, config.margin)
    found = [pool._replace(codes=load_codes(settings, pool.audio)) for pool in pools(settings, config.reading)]
    kind = partial(FlowStretches, vectors=load_vectors(settings), rate=settings.flow.rate)
    train(settings, "flow", module, stretch_data(settings, module, kind, found, config), settings.flow_optim)


def trained_flow(settings: Settings) -> Flow:
    """The averaged flow of the newest checkpoint, in evaluation mode. Raises SpeechError without one."""
    return trained(settings, "flow", Flow(settings.flow))[0]
