from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.asr.encoder import EncoderConfig
from speech.asr.model import FastConformerConfig, PredictionConfig
from speech.audio.mel import WHISPER, MelConfig
from speech.errors import SpeechError
from speech.hub.schema import from_tree, read_yaml, to_tree

pairs = st.tuples(st.integers(0, 99), st.integers(0, 99))
contexts = st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda pair: (pair[0] * (pair[1] + 1), pair[1]))
numbers = st.floats(allow_nan=False)
encoders = st.builds(
    EncoderConfig,
    dim=st.integers(1, 2048),
    conv_context=pairs,
    conv_norm=st.sampled_from(["layer_norm", "batch_norm"]),
    bias=st.booleans(),
    contexts=st.lists(contexts, min_size=1, max_size=4).map(tuple),
    dropout=numbers,
)
configs = st.builds(
    FastConformerConfig,
    mel=st.sampled_from([MelConfig(), WHISPER, MelConfig(clip=(-1.0, 1.0), lead=7)]),
    encoder=encoders,
    vocabulary=st.integers(1, 9999),
    ctc=st.booleans(),
    prediction=st.none() | st.builds(PredictionConfig, dim=st.integers(1, 999), dropout=numbers),
)


@settings(max_examples=30, deadline=None)
@given(configs)
def test_yaml_and_back(config: FastConformerConfig) -> None:
    tree = yaml.safe_load(yaml.safe_dump(to_tree(config)))
    assert from_tree(FastConformerConfig, tree, "config") == config


@dataclass(frozen=True)
class Inner:
    pair: tuple[int, int]
    rate: float = 0.5


@dataclass(frozen=True)
class Outer:
    inner: Inner
    many: tuple[Inner, ...] = ()
    kind: Literal["a", "b"] = "a"
    flag: bool = True
    name: str | None = None


GOOD: dict[str, Any] = {"inner": {"pair": [1, 2], "rate": 1}, "many": [], "kind": "a", "flag": False, "name": None}


def test_an_integer_serves_as_a_float() -> None:
    rate = from_tree(Outer, GOOD, "config").inner.rate
    assert rate == 1.0
    assert type(rate) is float


def test_a_missing_key_has_its_default() -> None:
    """A checkpoint from before a field was added stays readable."""
    assert from_tree(Outer, {"inner": {"pair": [1, 2]}, "flag": False}, "config") == Outer(Inner((1, 2)), flag=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "config .*got also extra"),
        ({"inner": {"rate": 1.0}}, "config.inner .*pair is missing"),
        ({"inner": [1]}, "config.inner to be a mapping"),
        ({"inner": {"pair": [1], "rate": 1.0}}, r"config.inner.pair to be tuple\[int, int\], got \[1\]"),
        ({"inner": {"pair": [1, 2.5], "rate": 1.0}}, r"config.inner.pair\[1\] to be int, got 2.5"),
        ({"inner": {"pair": [1, True], "rate": 1.0}}, "got True"),
        ({"inner": {"pair": [1, 2], "rate": "fast"}}, "config.inner.rate to be float, got 'fast'"),
        ({"many": [{}]}, r"config.many\[0\] .*pair is missing"),
        ({"kind": "c"}, r"config.kind to be Literal\['a', 'b'\], got 'c'"),
        ({"kind": []}, "config.kind"),
        ({"flag": 1}, "config.flag to be bool, got 1"),
        ({"name": 3}, "config.name to be str, got 3"),
        ({"name": ["!!python/object"]}, "config.name"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpeechError, match=message):
        from_tree(Outer, GOOD | change, "config")


@dataclass(frozen=True)
class Round:
    radius: float = 1.0
    colour: str = ""


@dataclass(frozen=True)
class Square:
    side: float = 1.0
    colour: str = ""


@dataclass(frozen=True)
class Drawing:
    shape: Round | Square | None = None


def test_of_several_dataclasses_the_keys_tell_which() -> None:
    for drawing in (Drawing(Round(2.0)), Drawing(Square(3.0, "red")), Drawing()):
        assert from_tree(Drawing, to_tree(drawing), "x") == drawing
    with pytest.raises(SpeechError, match=r"Round, Square in x\.shape, got side, radius, which fit none"):
        from_tree(Drawing, {"shape": {"side": 1.0, "radius": 1.0}}, "x")
    with pytest.raises(SpeechError, match="fit several"):
        from_tree(Drawing, {"shape": {"colour": "red"}}, "x")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"a: [", "flow"),
        (b"\xff\xfe", "utf-8"),
        (b"a: !!python/object/apply:os.getcwd []", "python/object"),
        (b"day: 2001-99-99", "month"),
        (b"a: " + b"[" * 50_000, "nested too deeply"),
    ],
)
def test_yaml_that_is_none_is_one_sentence(text: bytes, fault: str) -> None:
    with pytest.raises(SpeechError, match=f"expected it to be plain YAML.*{fault}") as caught:
        read_yaml(text, "it")
    assert "\n" not in str(caught.value)


def test_messages_do_not_unfold_aliases() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    tree = read_yaml("\n".join(lines).encode(), "it")  # 9 ** 9 letters, were it printed
    with pytest.raises(SpeechError, match="expected at to be int, got") as caught:
        from_tree(int, tree, "at")
    assert len(str(caught.value)) < 1000
