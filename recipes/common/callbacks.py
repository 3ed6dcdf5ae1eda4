"""What happens between training steps: progress lines, checkpoints that survive a kill, and a deadline."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer

KEEP = 2  # checkpoints: the newest, and the one before it


class Progress(Callback):
    """Every `every` steps a JSON line in `log` and a printed one; checkpoints; a stop after `minutes`.

    A checkpoint is written whenever `checkpoint_minutes` have passed, at the last step and at the deadline; under
    another name first, so that one with its proper name is whole. Clocks differ between processes: the first decides.
    """

    def __init__(
        self, log: Path, checkpoints: Path, *, every: int, checkpoint_minutes: float, minutes: float | None
    ) -> None:
        self.path, self.checkpoints, self.every = log, checkpoints, every
        self.interval, self.minutes = checkpoint_minutes * 60, minutes
        self.sums: dict[str, float] = {}
        self.count, self.begun, self.saved, self.mark = 0, 0.0, 0.0, (0.0, 0.0)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.begun = self.saved = time.monotonic()
        self.mark = (self.begun, pl_module.audio_hours)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        for name, value in outputs.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())
        self.count += 1
        last = trainer.global_step >= trainer.max_steps
        if self.count < self.every * trainer.accumulate_grad_batches and not last:
            return
        now = time.monotonic()
        self._report(trainer, pl_module, now)
        late = self.minutes is not None and now > self.begun + self.minutes * 60
        due, late = trainer.strategy.broadcast((last or late or now > self.saved + self.interval, late))
        if due:
            self._save(trainer)
            self.saved = now
        if late:
            trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.mark = (time.monotonic(), pl_module.audio_hours)
        metrics = trainer.callback_metrics.items()
        self._write(trainer, pl_module, {n: round(float(v), 4) for n, v in metrics if n.startswith("val_")})

    def _report(self, trainer: Trainer, module: Any, now: float) -> None:
        means = {name: round(value / self.count, 4) for name, value in self.sums.items()}
        speed = (module.audio_hours - self.mark[1]) * 3600 / (now - self.mark[0])
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self._write(trainer, module, {**means, "lr": float(f"{rate:.2e}"), "audio_per_second": round(speed, 1)})
        self.sums, self.count, self.mark = {}, 0, (now, module.audio_hours)

    def _write(self, trainer: Trainer, module: Any, values: dict[str, float]) -> None:
        if not trainer.is_global_zero:
            return
        row = {"step": trainer.global_step, "hours": round(module.audio_hours, 2), **values}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(" ".join(f"{name} {value}" for name, value in row.items()), flush=True)

    def _save(self, trainer: Trainer) -> None:
        path = self.checkpoints / f"step={trainer.global_step}.ckpt"
        partial = path.with_suffix(".partial")
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            partial.rename(path)
            for old in checkpoints(self.checkpoints)[KEEP:]:
                old.unlink()


def checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints (they are zip archives), the newest first."""
    found = sorted(folder.glob("step=*.ckpt"), key=lambda path: -int(path.stem.removeprefix("step=")))
    return [path for path in found if zipfile.is_zipfile(path)]
