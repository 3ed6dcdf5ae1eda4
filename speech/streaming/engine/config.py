"""How an engine runs."""

from __future__ import annotations

from dataclasses import dataclass

from speech.errors import SpeechError


@dataclass(frozen=True)
class EngineConfig:
    """tick: seconds that the first of some steps waits for others, so that they go together.

    buckets: sizes of batches. A batch of a network is filled up to one of them, so that sizes are few and each was met
    at the start; on a CUDA device it is then captured in a graph (`graphs`). most_load: a session is refused where the
    steps of all would need more of the time (`Stats.needed`). park_after: seconds without input after which a session's
    slot may be given to another one. results: of a session that may lie there until it waits. undo: bytes on each
    device for the state of a batch as it was before its step, so that where that fails only those streams break off
    whose fault it is; of a batch with more state all do. Raises SpeechError for what cannot be.
    """

    tick: float = 0.01
    buckets: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
    most_load: float = 0.8
    park_after: float = 5.0
    results: int = 1024
    undo: int = 2**31
    graphs: bool = True

    def __post_init__(self) -> None:
        rising = self.buckets[:1] == (1,) and list(self.buckets) == sorted(set(self.buckets))
        if min(self.tick, self.park_after, self.undo) < 0 or self.most_load <= 0 or self.results < 1 or not rising:
            raise SpeechError(
                "expected no negative times and bytes, a load and results above 0 and buckets that rise from 1, got "
                f"{self}: correct them"
            )

    def bucket(self, rows: int) -> int:
        """The smallest bucket for so many rows."""
        return next(size for size in self.buckets if size >= rows)
