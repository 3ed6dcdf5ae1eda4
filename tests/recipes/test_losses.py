from __future__ import annotations

import sys
import warnings
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

pytest.importorskip("lhotse", reason="the training extra is not installed")

from recipes.asr_small.augment import SpecAugmentConfig
from recipes.asr_small.dataset import Batch
from recipes.asr_small.losses import alignment, ctc, halves, torchaudio_loss, transducer
from recipes.asr_small.module import Training
from recipes.asr_small.optim import OptimConfig, draw_context, loss_weights
from recipes.asr_small.targets import IGNORED
from recipes.common.optim import rate
from speech.asr.encoder import EncoderConfig
from speech.asr.model import FastConformer, FastConformerConfig, PredictionConfig
from speech.kernels.transducer_loss import transducer_loss
from speech.streaming.frames import Frames

SMALL = FastConformerConfig(
    encoder=EncoderConfig(dim=16, layers=3, heads=2, subsampling_channels=4), vocabulary=5, prediction=None
)


def batch(targets: torch.Tensor) -> Batch:
    tokens, count = torch.tensor([[1, 2], [3, 0]]), torch.tensor([2, 1])
    return Batch(torch.zeros(2, 1600), torch.tensor([1600, 800]), tokens, count, targets, 0)


@pytest.mark.parametrize("context", [(70, 13), (70, 0)])
def test_halves_are_the_encoder(context: tuple[int, int]) -> None:
    encoder = FastConformer(SMALL).encoder.eval().at(context)
    lower, upper = halves(encoder)
    mel = Frames.whole(torch.randn(2, 200, 80), torch.tensor([200, 111]))
    torch.testing.assert_close(upper(lower(mel)).data, encoder(mel).data)
    own = {id(p) for p in encoder.parameters()}
    assert {id(p) for half in (lower, upper) for p in half.parameters()} == own
    assert [len([n for n in dict(half.named_children()) if n.isdigit()]) for half in (lower, upper)] == [2, 1]


def test_alignment_counts_known_frames_alone() -> None:
    head, frames = torch.nn.Linear(4, 6), Frames.whole(torch.randn(2, 7, 4))
    targets = torch.full((2, 9), IGNORED)
    assert alignment(head, frames, batch(targets)) == 0
    targets[0, 2], targets[1, 6], targets[1, 8] = 3, 5, 1  # the last lies beyond the encoder's frames
    log_p = head(frames.data).log_softmax(-1)
    wanted = -(log_p[0, 2, 3] + log_p[1, 6, 5]) / 2
    torch.testing.assert_close(alignment(head, frames, batch(targets)), wanted)
    torch.testing.assert_close(alignment(head, frames, batch(targets[:, :5])), -log_p[0, 2, 3])


def test_ctc_is_that_of_pytorch_per_token() -> None:
    model, frames = FastConformer(SMALL), Frames.whole(torch.randn(2, 9, 16), torch.tensor([9, 6]))
    given = batch(torch.zeros(2, 1, dtype=torch.long))
    log_p = model.ctc(frames.data).transpose(0, 1)  # type: ignore[misc]
    total = torch.nn.functional.ctc_loss(log_p, given.tokens, frames.lengths, given.token_lengths, 5, reduction="sum")
    torch.testing.assert_close(ctc(model, frames, given), total / 3)


@pytest.mark.parametrize("fastemit", [0.0, 0.005])
def test_the_transducer_loss_is_per_token(fastemit: float) -> None:
    heads = PredictionConfig(dim=4, joint_dim=4)
    config = FastConformerConfig(SMALL.mel, SMALL.encoder, vocabulary=5, prediction=heads)
    model, frames = FastConformer(config).eval(), Frames.whole(torch.randn(2, 9, 16), torch.tensor([9, 6]))
    given = batch(torch.zeros(2, 1, dtype=torch.long))
    assert model.joint and model.prediction
    scores = model.joint(frames.data, model.prediction(given.tokens))
    total = transducer_loss(scores, given.tokens, frames.lengths, given.token_lengths, 5, fastemit).sum()
    torch.testing.assert_close(transducer(model, frames, given, fastemit), total / 3)


@pytest.mark.parametrize("cells", [3, 8192])
def test_scores_that_never_exist_at_once_train_alike(cells: int) -> None:
    """The module on a card, interpreted, and as it runs on a CPU: loss and every gradient."""
    backend = pytest.importorskip("speech.kernels.backend")
    if backend.triton is None or torch.cuda.is_available():
        pytest.skip("kernels are interpreted where Triton is and no card")
    heads = PredictionConfig(dim=4, joint_dim=4, dropout=0.0, joint_dropout=0.0)
    config = FastConformerConfig(SMALL.mel, SMALL.encoder, vocabulary=5, prediction=heads)
    optim = OptimConfig(transducer_weight=1.0, joint_cells=cells)
    module = Training(FastConformer(config), optim, SpecAugmentConfig(), str)
    given, found = batch(torch.zeros(2, 1, dtype=torch.long)), []
    last = Frames.whole(torch.randn(2, 9, 16), torch.tensor([9, 6]))
    for context in (nullcontext, backend.interpreted):
        x = last.data.clone().requires_grad_()
        module.zero_grad()
        with context():
            loss = module.losses(given, last, last.like(x), 0)["loss"]
            loss.backward()
        trained = {name: p.grad for name, p in module.model.named_parameters() if p.grad is not None}
        assert {"joint.out.weight", "joint.enc.weight", "prediction.embed.weight"} <= trained.keys()
        found.append((loss.detach(), x.grad, trained))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)


def test_the_loss_of_torchaudio_is_ours() -> None:
    loss = torchaudio_loss()
    if loss is None:
        pytest.skip("torchaudio does not import beside this torch")
    frames, labels, targets = torch.tensor([7, 5, 4]), torch.tensor([3, 0, 2]), torch.randint(0, 10, (3, 4))
    scores, weight, found = torch.randn(3, 9, 5, 11), torch.rand(3), []
    for compute in (loss, transducer_loss):
        x = scores.clone().requires_grad_()
        each = compute(x, targets, frames, labels, 10)
        (each * weight).sum().backward()
        found.append((each.detach(), x.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("failure", ["ImportError", "OSError", "RuntimeError"])
def test_without_torchaudio_nothing_is_said(failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text(f"raise {failure}('no libcudart')\n")
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torchaudio_loss() is None


def test_losses_by_the_step() -> None:
    optim = OptimConfig(transducer_weight=0.5, transducer_start=0.5, intermediate=0.2, alignment=0.3, steps=1000)
    first, last = loss_weights(0, optim), loss_weights(999, optim)
    assert first == pytest.approx({"ctc": 0.8, "ctc_middle": 0.2, "transducer": 0, "alignment": 1})
    assert last == pytest.approx({"ctc": 0.4, "ctc_middle": 0.1, "transducer": 0.5, "alignment": 1 - 999 / 1500})
    assert loss_weights(5000, optim)["alignment"] == 0.3
    assert loss_weights(0, OptimConfig())["alignment"] == 0


def test_learning_rate_rises_holds_and_falls() -> None:
    optim = OptimConfig(warmup=10, hold=0.5, steps=100)
    assert rate(4, optim) == 0.5
    assert rate(9, optim) == rate(50, optim) == 1
    assert rate(75, optim) == pytest.approx(0.505)
    assert rate(100, optim) == pytest.approx(0.01)


def test_look_aheads_are_drawn_by_weight_after_the_start() -> None:
    contexts = SMALL.encoder.contexts
    optim = OptimConfig(contexts_start=10, context_weights=(0, 1, 0, 3))
    assert {draw_context(9, optim, contexts, seed) for seed in range(50)} == {contexts[0]}
    drawn = [draw_context(10, optim, contexts, seed) for seed in range(400)]
    assert set(drawn) == {contexts[1], contexts[3]}
    assert drawn.count(contexts[3]) == pytest.approx(300, abs=40)
