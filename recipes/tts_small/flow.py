"""Stage `flow`: trains the flow, which makes mel frames of speech codes in the voice of a speaker vector."""

from __future__ import annotations

from functools import partial

import numpy as np

from recipes.common.corpora import written
from recipes.common.prepare import configured
from recipes.tts_small.codes import load_codes
from recipes.tts_small.flow_training import FlowStretches, FlowTraining
from recipes.tts_small.listening import listener
from recipes.tts_small.parts import train
from recipes.tts_small.pools import Pool, pools, stretch_data
from recipes.tts_small.settings import Settings
from recipes.tts_small.speaker import load_vectors
from recipes.tts_small.symbols import marks, timed
from recipes.tts_small.tracks import load_phones
from speech.audio.mel import LogMel
from speech.errors import SpeechError
from speech.flow.model import Flow


def flow(settings: Settings) -> None:
    """Train until `flow.optim.steps`, or for `trainer.minutes`; goes on from the newest checkpoint."""
    config, model, listen = settings.flow_crops, Flow(settings.flow), settings.flow_optim.listen
    if listen.share and not settings.flow.sampling.mean:
        raise SpeechError("expected a mean flow to listen to, got ten steps or so: set flow.optim.listen.share=0")
    ears = listener(listen.model) if listen.share else None
    module = FlowTraining(model, LogMel(settings.mel), settings.flow_optim, config.margin, ears)
    sources = zip(pools(settings, config.reading), configured(settings), strict=False)
    found = [labelled(pool, load_codes(settings, pool.audio), written(*source)) for pool, (_, *source) in sources]
    kind = partial(
        FlowStretches,
        vectors=load_vectors(settings),
        flow=settings.flow,
        unlabelled=settings.flow_optim.unlabelled,
        wrong=settings.flow_optim.wrong,
    )
    train(settings, "flow", module, stretch_data(settings, module, kind, found, config), settings.flow_optim)


def labelled(pool: Pool, codes: dict[str, np.ndarray], texts: dict[str, str]) -> Pool:
    """A pool with its codes and, where its phones are known, their symbols. texts: by id what was written."""
    phones = load_phones(pool.audio)
    symbols = {
        cut.id: timed(phones[cut.id], len(codes[cut.id]), marks(cut, texts)).by_code(len(codes[cut.id]))
        for cut in pool.cuts
        if cut.id in phones
    }
    return pool._replace(codes=codes, symbols=symbols)
