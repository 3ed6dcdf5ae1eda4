"""Frozen configuration dataclasses as plain YAML data, and back with every key and type checked."""

from __future__ import annotations

import dataclasses
import reprlib
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from speech.errors import SpeechError


def read_yaml(text: bytes, source: str) -> Any:
    """Plain YAML data; tags are refused, so that nothing is executed. source: for messages. Raises SpeechError."""
    try:
        return yaml.safe_load(text.decode())
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # also of bytes, dates and numbers that are none
        why = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise SpeechError(f"expected {source} to be plain YAML, it is not ({why}): fetch it again") from error


def shown(value: Any) -> str:
    """A value as messages show it, cut short: by aliases a small YAML file stands for a huge tree."""
    short = reprlib.Repr()
    short.maxlevel = 2
    return short.repr(value)


def to_tree(value: Any) -> Any:
    """Nested dataclasses and tuples as nested dicts and lists, which YAML can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_tree(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [to_tree(item) for item in value]
    return value


def from_tree(kind: Any, tree: Any, at: str) -> Any:
    """A value of the annotated type `kind` from plain data; `at` is its dotted name for messages.

    Knows dataclasses, `X | None`, `Literal`, tuples, and plain scalars. An int is taken where a float is expected. Of
    several dataclasses (`X | Y`) the one is meant that knows all the keys. A key that is missing has its field's
    default: a field added later must default to what was done before it.

    Raises:
        SpeechError: a key is unknown, a key without a default is missing, or a value has another type.
    """
    origin, args = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, tree, at)
    if origin in (Union, UnionType):
        if tree is None and NoneType in args:
            return None
        return from_tree(_meant([arg for arg in args if arg is not NoneType], tree, at), tree, at)
    if origin is Literal and isinstance(tree, str | int | bool) and tree in args:
        return tree
    if origin is tuple and isinstance(tree, list):
        kinds = args[:1] * len(tree) if args[-1] is Ellipsis else args
        if len(kinds) == len(tree):
            return tuple(from_tree(k, item, f"{at}[{i}]") for i, (k, item) in enumerate(zip(kinds, tree, strict=True)))
    if kind is float and type(tree) is int:
        return float(tree)
    if type(tree) is kind:
        return tree
    raise SpeechError(f"expected {at} to be {_named(kind)}, got {shown(tree)}: correct this value")


def _dataclass(kind: Any, tree: Any, at: str) -> Any:
    if not isinstance(tree, dict):
        raise SpeechError(f"expected {at} to be a mapping with the fields of {kind.__name__}, got {shown(tree)}")
    fields = dataclasses.fields(kind)
    names = [f.name for f in fields]
    unknown = [str(key) for key in tree if key not in names]
    needed = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
    missing = [name for name in needed if name not in tree]
    if unknown:
        raise SpeechError(
            f"expected in {at} only the keys {', '.join(names)}, got also {', '.join(unknown)}: remove them"
        )
    if missing:
        raise SpeechError(f"expected in {at} the keys {', '.join(needed)}, but {', '.join(missing)} is missing: add it")
    hints = get_type_hints(kind)
    return kind(**{name: from_tree(hints[name], value, f"{at}.{name}") for name, value in tree.items()})


def _meant(kinds: list[Any], tree: Any, at: str) -> Any:
    """Of several dataclasses the one that has every key of `tree` as a field."""
    if len(kinds) == 1 or not isinstance(tree, dict):
        return kinds[0]
    fitting = [kind for kind in kinds if tree.keys() <= {f.name for f in dataclasses.fields(kind)}]
    if len(fitting) != 1:
        names = ", ".join(kind.__name__ for kind in kinds)
        raise SpeechError(
            f"expected the keys of one of {names} in {at}, got {', '.join(map(str, tree))}, which fit "
            f"{'several' if fitting else 'none'}: give the fields of one"
        )
    return fitting[0]


def _named(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind).removeprefix("typing.")
