"""Golden numbers of the mean-flow objective on MeanVC: losses, derivatives along the path, and every gradient."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.func import functional_call

from speech.flow.objectives import MeanFlow, adaptive_mean
from speech.hub.meanvc.folder import from_meanvc
from speech.vc.network import ConverterNetwork
from speech.vc.training import converter_loss


class Holder(nn.Module):
    """Lets `functional_call` reach every method of the network."""

    def __init__(self, network: ConverterNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, use: Callable[[ConverterNetwork], Any]) -> Any:
        return use(self.network)


class Golden:
    """The public tensors as leaves, the inputs, and the network as a function of those tensors."""

    def __init__(self, folder: Path) -> None:
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        loaded = load_file(folder / "model.safetensors")
        self.weights = {name: loaded[name].clone().requires_grad_() for name in self.config["param_names"]}
        with np.load(folder / "io.npz") as arrays:
            self.io = {name: torch.from_numpy(array) for name, array in arrays.items()}
        for name in ("x", "content", "prompt_mel", "noise"):
            self.io[name] = self.io[name].float()
        config, tensors = from_meanvc(self.weights)
        self.holder = Holder(ConverterNetwork(config))
        self.tensors = {f"network.{name}": tensor for name, tensor in tensors.items()}
        self.lengths = self.io["lengths"].long()
        self.valid = torch.arange(60) < self.lengths[:, None]

    def run(self, use: Callable[[ConverterNetwork], Any]) -> Any:
        """What `use` makes of the network on the public tensors."""
        return functional_call(self.holder, self.tensors, (use,))

    def conditions(self, network: ConverterNetwork) -> Tensor:
        io = self.io
        return network.conditioned(io["content"], network.target(io["spk_embedding"], io["prompt_mel"]))

    def loss(self, **settings: Any) -> MeanFlow:
        """In the original's training mask, with the rows dropped that it dropped."""
        inputs = [self.io[name] for name in ("noise", "t", "r")]
        dropped = (self.io["cond_drop_draw"] < self.config["flow"]["cond_drop_p"])[:, None, None]

        def use(network: ConverterNetwork) -> MeanFlow:
            kept = self.conditions(network).masked_fill(dropped, 0.0)
            return converter_loss(network, self.io["x"], kept, self.lengths, *inputs, alone=True, **settings)

        return self.run(use)

    def gradients(self, loss: Tensor) -> dict[str, Tensor]:
        found = torch.autograd.grad(loss, list(self.weights.values()), allow_unused=True)
        return {
            n: torch.zeros_like(w) if g is None else g for (n, w), g in zip(self.weights.items(), found, strict=True)
        }


@pytest.fixture(scope="module")
def golden(shared: Path) -> Golden:
    return Golden(shared / "fixtures/meanflow_objective")


def total(gradients: dict[str, Tensor]) -> Tensor:
    return torch.stack([g.norm() for g in gradients.values()]).norm()


def test_loss_its_parts_and_every_gradient(golden: Golden) -> None:
    got, io = golden.loss(), golden.io
    for name, ours, tolerance in (
        ("u", got.velocity, 2e-5),
        ("dudt", got.slope, 1e-3 * 2.42),
        ("u_target", got.target, 1e-3 * 2.52),
    ):
        difference = (ours.detach() - io[name]).abs().masked_fill(~golden.valid[..., None], 0.0)
        assert difference.max() < tolerance, name
    torch.testing.assert_close(got.loss.detach(), io["loss"], rtol=1e-4, atol=0)
    torch.testing.assert_close(got.error.detach(), io["mse"], rtol=1e-4, atol=0)
    gradients = golden.gradients(got.loss)
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


@pytest.mark.parametrize(("suffix", "settings"), [("no_guidance", {"guidance": 1.0}), ("p1", {"exponent": 1.0})])
def test_other_settings(golden: Golden, suffix: str, settings: dict[str, Any]) -> None:
    loss = golden.loss(**settings).loss
    torch.testing.assert_close(loss.detach(), golden.io[f"loss_{suffix}"], rtol=1e-4, atol=0)
    gradient = total(golden.gradients(loss))
    torch.testing.assert_close(gradient, golden.io[f"grad_norm_total_{suffix}"], rtol=1e-3, atol=0)


def test_one_step_regression(golden: Golden) -> None:
    """From noise in one step, toward the straight path, weighted like the mean flow."""
    io, ones = golden.io, torch.ones(3)

    def use(network: ConverterNetwork) -> Tensor:
        conditions = golden.conditions(network)
        return network(io["noise"], ones, 0 * ones, conditions, golden.lengths, io["x"], alone=True)

    u = golden.run(use)
    difference = (io["noise"] - u - io["one_step_pred"]).detach().abs().masked_fill(~golden.valid[..., None], 0.0)
    assert difference.max() < 2e-5
    loss = adaptive_mean((u - io["noise"] + io["x"]).square().mean(-1), golden.valid)
    torch.testing.assert_close(loss.detach(), io["one_step_loss"], rtol=1e-4, atol=0)
    gradient = total(golden.gradients(loss))
    torch.testing.assert_close(gradient, io["one_step_grad_norm_total"], rtol=1e-3, atol=0)
