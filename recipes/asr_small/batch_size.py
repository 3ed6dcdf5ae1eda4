"""Stage `batch_size`: the largest batch that fits the device's memory, for every bucket.

As the search of Zelasko et al. 2025 (arXiv 2503.05931): synthetic batches at each bucket's limits go through a real
training step; the size doubles until memory runs out and is then bisected to within 5 %.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

from recipes.asr_small.batches import Bin, save_profile
from recipes.asr_small.data import plan
from recipes.asr_small.dataset import Batch
from recipes.asr_small.module import Training
from recipes.asr_small.prepare import load_tokenizer, training_sets
from recipes.asr_small.settings import Settings
from recipes.common.cache import RATE
from speech.asr.model import FastConformer

log = logging.getLogger(__name__)

MEMORY_SHARE = 0.85  # of the device; the rest is for what training keeps beside the step
SLOWEST = 1 / 0.9  # speed perturbation makes an utterance that much longer than its bucket says


def batch_size(settings: Settings) -> None:
    """Measure and write `batch_sizes.json`, which stage `train` then uses. Sizes are capped by `batch.seconds`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(MEMORY_SHARE)
    settings.profile.unlink(missing_ok=True)
    bins, _ = plan(settings, training_sets(settings)[0])
    module = Training(FastConformer(settings.model), settings.optim, settings.mask, load_tokenizer(settings).decode).to(
        device
    )
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-7)
    sizes, start = [], 1
    for limits in reversed(bins):
        cap = max(1, int(settings.batch.seconds / limits[0]))
        start = search(lambda n, limits=limits: fits(module, optimizer, limits, n), start, cap)
        sizes.insert(0, start)
        log.info("%.2f s, %d tokens: %d utterances", *limits, start)
    save_profile(settings.profile, bins, sizes)


def search(fits: Callable[[int], bool], start: int, cap: int) -> int:
    """The largest size up to `cap` that fits, to within 5 %. At least 1, whether it fits or not."""
    good, bad, size = 0, cap + 1, min(start, cap)
    while good < cap and bad > 1:
        if fits(size):
            good = size
        else:
            bad = size
        if bad <= cap and bad - good <= max(1, 0.05 * bad):
            break
        size = min(2 * size, cap) if bad > cap else (good + bad) // 2
    return max(good, 1)


def fits(module: Training, optimizer: torch.optim.Optimizer, limits: Bin, size: int) -> bool:
    """Whether one training step on `size` utterances at a bucket's limits stays within memory."""
    seconds, tokens = limits
    device = module.device
    samples = round(seconds * SLOWEST * RATE)
    batch = Batch(
        samples=0.1 * torch.randn(size, samples, device=device),
        lengths=torch.full((size,), samples, device=device),
        tokens=torch.randint(0, module.model.config.vocabulary, (size, tokens), device=device),
        token_lengths=torch.full((size,), tokens, device=device),
        targets=torch.zeros(size, 1, dtype=torch.long, device=device),
        seed=0,
    )
    try:
        with torch.autocast(device.type, torch.bfloat16):
            frames = module.encode(batch, module.model.config.encoder.contexts[0])
            loss = module.losses(batch, *frames, module.optim.steps)["loss"]  # by the last step every loss is on
        loss.backward()
        optimizer.step()
        return True
    except torch.OutOfMemoryError:
        return False
    finally:
        optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()
