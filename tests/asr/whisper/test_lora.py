from __future__ import annotations

import pytest
import torch
from torch import nn

from speech.asr.whisper.lora import LoRA, adapt, merge
from speech.kernels.linear import Linear
from tests.asr.whisper.small import CONFIG, small

SAMPLES, LENGTHS, IDS = torch.randn(2, 4000), torch.tensor([4000, 3000]), torch.randint(23, (2, 5))


def test_it_changes_nothing_at_first_and_merges_exactly() -> None:
    model = small()
    names = list(model.state_dict())
    with torch.inference_mode():
        before = model(SAMPLES, LENGTHS, IDS)
    trained = adapt(model, rank=2, alpha=3.0)
    with torch.inference_mode():
        assert torch.equal(model(SAMPLES, LENGTHS, IDS), before)
        for parameter in trained:
            nn.init.normal_(parameter, std=0.2)
        adapted = model(SAMPLES, LENGTHS, IDS)
    merge(model)
    assert list(model.state_dict()) == names and all(p.requires_grad for p in model.parameters())
    with torch.inference_mode():
        merged = model(SAMPLES, LENGTHS, IDS)
    scale = float(adapted.abs().max())
    assert float((merged - adapted).abs().max()) < 1e-6 * scale < float((merged - before).abs().max())


def test_the_update_is_the_formula() -> None:
    """Three matrices of a fused layer are adapted as three layers would be."""
    base = Linear(6, 9)
    weight = base.weight.detach().clone()
    layer = LoRA(base, rank=2, alpha=4.0, parts=3)
    nn.init.normal_(layer.up)
    x = torch.randn(5, 6)
    with torch.no_grad():
        parts = [x @ weight[3 * i : 3 * i + 3].T + 4 / 2 * x @ layer.down[i].T @ layer.up[i].T for i in range(3)]
        torch.testing.assert_close(layer(x), torch.cat(parts, 1) + base.bias)


def test_what_is_trained() -> None:
    """Queries, keys, values and outputs of 2 encoder and 3 decoder layers, self and cross attention; nothing else."""
    model, rank, dim = small(), 2, CONFIG.dim
    trained = adapt(model, rank)
    assert {id(p) for p in trained} == {id(p) for p in model.parameters() if p.requires_grad}
    assert sum(p.numel() for p in trained) == (2 + 3 + 3) * 4 * rank * 2 * dim
    model(SAMPLES, LENGTHS, IDS).square().mean().backward()
    ups = [p for name, p in model.named_parameters() if name.endswith(".up")]
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in ups)
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


@pytest.mark.parametrize(("rank", "parts"), [(0, 1), (2, 4)])
def test_what_cannot_be(rank: int, parts: int) -> None:
    with pytest.raises(ValueError, match="expected a rank of at least 1"):
        LoRA(Linear(6, 9), rank, parts=parts)
