"""A live stream as bytes: plain data as JSON, then what is no plain data. Nothing in it is executed."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speech.errors import SpeechError

MAGIC, VERSION = b"SPST", 2
HEADER = struct.Struct("<4sIQ")  # magic, version, bytes of the JSON part


def pack(told: dict[str, Any], parts: Sequence[bytes]) -> bytes:
    """Plain data and byte strings as one byte string."""
    head = json.dumps({"told": told, "sizes": [len(part) for part in parts]}).encode()
    return HEADER.pack(MAGIC, VERSION, len(head)) + head + b"".join(parts)


def unpack(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """What `pack` was given. Raises SpeechError for anything that it did not return, whole."""
    if len(data) < HEADER.size or data[:4] != MAGIC:
        raise SpeechError(
            f"expected the snapshot of a stream, got {len(data)} other bytes: pass what snapshot() returned"
        )
    _, version, size = HEADER.unpack_from(data)
    if version != VERSION:
        raise SpeechError(f"expected a snapshot of version {VERSION}, got {version}: take it again with this release")
    at = HEADER.size + size
    if at > len(data):
        raise SpeechError(f"expected a whole snapshot, got {len(data)} bytes: it was cut short")
    try:
        head = json.loads(data[HEADER.size : at])
        told, sizes = head["told"], head["sizes"]
    except (ValueError, KeyError, TypeError) as error:
        raise SpeechError("expected a whole snapshot, got a damaged one: take it again") from error
    if at + sum(sizes) != len(data):
        raise SpeechError(f"expected a snapshot of {at + sum(sizes)} bytes, got {len(data)}: it was cut short")
    parts = []
    for size in sizes:
        parts.append(data[at : at + size])
        at += size
    return told, parts


def to_bytes(x: Tensor) -> bytes:
    """The values of a tensor, of any shape."""
    return x.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def to_tensor(data: bytes, like: Tensor) -> Tensor:
    """Rows [n, *shape] of which `to_bytes` made bytes; like: some of them, perhaps none, [m, *shape]."""
    raw = torch.from_numpy(np.frombuffer(data, np.uint8).copy())
    return raw.view(like.dtype).view(-1, *like.shape[1:]).to(like.device)
