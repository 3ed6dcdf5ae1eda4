"""Golden numbers of the mean-flow objective: losses, derivatives along the path, and every gradient."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.func import functional_call

from speech.flow.dit import DiTConfig
from speech.flow.objectives import MeanFlow, adaptive_mean, mean_flow_loss
from tests.flow.meanvc import Training, named, timbre


class Golden:
    """The public tensors as leaves, the inputs, and the network as functions of z, t and r."""

    def __init__(self, folder: Path) -> None:
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        loaded = load_file(folder / "model.safetensors")
        self.weights = {name: loaded[name].clone().requires_grad_() for name in self.config["param_names"]}
        with np.load(folder / "io.npz") as arrays:
            self.io = {name: torch.from_numpy(array) for name, array in arrays.items()}
        for name in ("x", "content", "prompt_mel", "noise"):
            self.io[name] = self.io[name].float()
        c = self.config
        dit = DiTConfig(
            mel=c["mel_dim"],
            inputs=80 + 2 * c["bn_dim"],
            dim=c["dim"],
            layers=c["depth"],
            heads=c["heads"],
            head_dim=c["dim_head"],
            ff_expansion=c["ff_mult"],
            position_conv=0,
            rotary_heads=None,
            qk_norm=True,
            interval=True,
        )
        self.model = Training(dit)
        self.tensors = named(self.weights, c["depth"])
        self.lengths = self.io["lengths"].long()
        self.valid = torch.arange(60) < self.lengths[:, None]

    def conditions(self) -> Tensor:
        io = self.io
        speaker = io["spk_embedding"]
        heard = timbre(self.weights, io["content"], io["prompt_mel"], speaker)
        return torch.cat([heard, speaker[:, None].expand(-1, 60, -1)], -1)

    def network(self, z: Tensor, t: Tensor, r: Tensor, conditions: Tensor) -> Tensor:
        return functional_call(self.model, self.tensors, (z, t, r, self.io["x"], conditions, self.lengths))

    def kept(self) -> Tensor:
        """The conditions of the gradient pass."""
        dropped = self.io["cond_drop_draw"] < self.config["flow"]["cond_drop_p"]
        return self.conditions().masked_fill(dropped[:, None, None], 0.0)

    def loss(self, **settings: Any) -> MeanFlow:
        io, conditions = self.io, self.kept()
        nothing = torch.zeros_like(conditions)
        free = None if settings.pop("unguided", False) else lambda z, t: self.network(z, t, t, nothing)
        return mean_flow_loss(
            lambda z, t, r: self.network(z, t, r, conditions),
            free,
            *(io[name] for name in ("x", "noise", "t", "r")),
            self.valid,
            **settings,
        )

    def gradients(self, loss: Tensor) -> dict[str, Tensor]:
        found = torch.autograd.grad(loss, list(self.weights.values()), allow_unused=True)
        return {
            n: torch.zeros_like(w) if g is None else g for (n, w), g in zip(self.weights.items(), found, strict=True)
        }


@pytest.fixture(scope="module")
def golden(shared: Path) -> Golden:
    return Golden(shared / "fixtures" / "meanflow_objective")


def total(gradients: dict[str, Tensor]) -> Tensor:
    return torch.stack([g.norm() for g in gradients.values()]).norm()


def test_loss_and_its_parts(golden: Golden) -> None:
    got, io = golden.loss(), golden.io
    with torch.no_grad():
        for name, ours, tolerance in (
            ("u", got.velocity, 2e-5),
            ("dudt", got.slope, 1e-3 * 2.42),
            ("u_target", got.target, 1e-3 * 2.52),
        ):
            difference = (ours - io[name]).abs().masked_fill(~golden.valid[..., None], 0.0)
            assert difference.max() < tolerance, name
        torch.testing.assert_close(got.loss, io["loss"], rtol=1e-4, atol=0)
        torch.testing.assert_close(got.error, io["mse"], rtol=1e-4, atol=0)


def test_every_gradient(golden: Golden) -> None:
    gradients, io = golden.gradients(golden.loss().loss), golden.io
    norms = torch.stack([g.norm() for g in gradients.values()])
    torch.testing.assert_close(norms, io["grad_norms"], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(total(gradients), io["grad_norm_total"], rtol=1e-3, atol=0)
    for array, name in (
        ("grad_proj_out_weight", "proj_out.weight"),
        ("grad_input_proj_weight", "input_embed.proj.weight"),
        ("grad_block0_to_q_weight", "transformer_blocks.0.attn.to_q.weight"),
        ("grad_t_time_mlp0_bias", "t_time_embed.time_mlp.0.bias"),
    ):
        wanted = io[array].float()
        assert (gradients[name] - wanted).abs().max() < 1e-3 * wanted.abs().max(), name


@pytest.mark.parametrize(("suffix", "settings"), [("no_guidance", {"unguided": True}), ("p1", {"exponent": 1.0})])
def test_other_settings(golden: Golden, suffix: str, settings: dict[str, Any]) -> None:
    loss = golden.loss(**settings).loss
    torch.testing.assert_close(loss, golden.io[f"loss_{suffix}"], rtol=1e-4, atol=0)
    gradient = total(golden.gradients(loss))
    torch.testing.assert_close(gradient, golden.io[f"grad_norm_total_{suffix}"], rtol=1e-3, atol=0)


def test_one_step_regression(golden: Golden) -> None:
    """From noise in one step, toward the straight path, weighted like the mean flow."""
    io = golden.io
    ones = torch.ones(3)
    u = golden.network(io["noise"], ones, 0 * ones, golden.conditions())
    difference = (io["noise"] - u - io["one_step_pred"]).abs().masked_fill(~golden.valid[..., None], 0.0)
    assert difference.max() < 2e-5
    loss = adaptive_mean((u - io["noise"] + io["x"]).square().mean(-1), golden.valid)
    torch.testing.assert_close(loss, io["one_step_loss"], rtol=1e-4, atol=0)
    gradient = total(golden.gradients(loss))
    torch.testing.assert_close(gradient, io["one_step_grad_norm_total"], rtol=1e-3, atol=0)
