"""The recogniser and its parts, small."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from speech.asr.conformer import ConformerLayer
from speech.asr.encoder import Encoder, EncoderConfig
from speech.asr.model import FastConformer, FastConformerConfig
from speech.asr.subsampling import Subsampling
from speech.asr.whisper.config import Context, WhisperConfig
from speech.asr.whisper.encoder import Encoder as WhisperEncoder
from speech.asr.whisper.encoder import Positions
from speech.asr.whisper.model import Whisper
from speech.audio.mel import MelConfig
from speech.streaming.attention import Attention
from speech.streaming.module import Streaming
from tests.streaming.case import Case, D


def _encoder(**changes: object) -> EncoderConfig:
    small = EncoderConfig(
        features=8, dim=8, layers=2, heads=2, ff_expansion=2, subsampling_channels=4, conv_context=(3, 0)
    )
    return replace(small, contexts=((6, 2), (6, 1), (6, 0)), **changes)  # type: ignore[arg-type]


def _recogniser() -> Iterator[tuple[str, Case]]:
    for causal in (True, False):
        yield f"subsampling causal={causal}", Case(partial(Subsampling, 8, 4, D, causal=causal), (8,))
    layer = partial(ConformerLayer, ff_hidden=12, bias=True, dropout=0.0)
    yield (
        "conformer layer",
        Case(lambda: layer(Attention(8, 2, left=6, chunk=3), conv_context=(4, 0), conv_norm="layer_norm"), (8,)),
    )
    yield (
        "conformer layer ahead",
        Case(lambda: layer(Attention(8, 2, left=4, right=2), conv_context=(2, 2), conv_norm="batch_norm"), (8,)),
    )
    configs = {
        "": _encoder(),
        " centred": _encoder(causal_subsampling=False),
        " batch norm": _encoder(conv_norm="batch_norm", bias=False, scale_input=False),
        " sliding": _encoder(chunked=False, conv_context=(2, 1)),
    }
    for name, config in configs.items():
        for context in config.contexts:
            build = partial(_encoder_at, config, context)
            yield f"encoder{name} {context}", Case(build, (8,), longest=120)
    mel = MelConfig(features=8, n_fft=32, window=20, hop=8)
    for context in ((6, 2), (6, 0)):
        build = partial(_pipeline, FastConformerConfig(mel, _encoder(), vocabulary=8, prediction=None), context)
        yield f"fastconformer {context}", Case(build, (), longest=600)


def _whisper() -> Iterator[tuple[str, Case]]:
    """Twelve positions, so that streams pass several laps. An initial block: tests/asr/whisper/test_encoder.py."""
    mel = MelConfig(features=8, n_fft=20, window=20, hop=8, edges="reflect", shape="hann_periodic", pre_emphasis=0.0)
    contexts = {
        "causal": Context.causal(3, positions=12),
        "causal, short memory and sinks": Context(2, left=4, sinks=3, restart=5),
        "windows": Context.windows(12),
    }
    for name, context in contexts.items():
        sizes = WhisperConfig(mel, 8, 2, 2, 1, 2, vocabulary=5, positions=12, contexts=(context,))
        yield f"whisper encoder {name}", Case(partial(WhisperEncoder, sizes), (8,), longest=90)
        yield f"whisper {name}", Case(partial(_whisper_pipeline, sizes), (), longest=400)
    yield "whisper positions", Case(lambda: Positions(12, D, 5))


def _whisper_pipeline(config: WhisperConfig) -> Streaming:
    return Whisper(config).pipeline()


def _encoder_at(config: EncoderConfig, context: tuple[int, int]) -> Streaming:
    return Encoder(config).at(context)


def _pipeline(config: FastConformerConfig, context: tuple[int, int]) -> Streaming:
    return FastConformer(config).pipeline(context)


CASES: dict[str, Case] = {name: case for group in (_recogniser, _whisper) for name, case in group()}
