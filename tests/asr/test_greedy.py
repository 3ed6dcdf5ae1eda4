from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from speech.asr.greedy import CTCGreedy, Greedy, RNNTGreedy, Token
from speech.asr.heads import CTCHead, Joint, Prediction
from speech.streaming.frames import OPEN, Frames, Place

DIM, VOCABULARY = 8, 11


def heads(seed: int = 0, loud: float = 0.0) -> tuple[CTCHead, Prediction, Joint]:
    torch.manual_seed(seed)
    ctc, prediction, joint = CTCHead(DIM, VOCABULARY), Prediction(VOCABULARY, 6, 2), Joint(DIM, 6, 10, VOCABULARY)
    with torch.no_grad():
        for module in (ctc, prediction, joint):
            for p in module.parameters():
                p.mul_(3)
        ctc.out.bias[-1] += 4 - loud
        joint.out.bias[-1] += 5 - loud
    return ctc, prediction, joint


def decoder(kind: str, loud: float = 0.0) -> Greedy:
    ctc, prediction, joint = heads(loud=loud)
    return CTCGreedy(ctc) if kind == "ctc" else RNNTGreedy(prediction, joint, restart=5 if kind == "restart" else None)


def signal(rows: int, count: int, seed: int = 1) -> Tensor:
    return torch.randn(rows, count, DIM, generator=torch.Generator().manual_seed(seed)).cumsum(1) / 2


def plain(tokens: list[Token]) -> list[tuple[int, int]]:
    return [(token.id, token.frame) for token in tokens]


def reference_ctc(head: CTCHead, x: Tensor) -> list[tuple[int, int]]:
    labels = head(x).argmax(-1).tolist()
    runs = [(label, t) for t, label in enumerate(labels) if t == 0 or label != labels[t - 1]]
    return [run for run in runs if run[0] != VOCABULARY]


def reference_rnnt(prediction: Prediction, joint: Joint, x: Tensor, max_symbols: int = 10) -> list[tuple[int, int]]:
    """Frame by frame as Graves (2012) writes it down; the prediction network runs over the whole prefix each time."""
    out: list[tuple[int, int]] = []
    for t in range(len(x)):
        for _ in range(max_symbols):
            prefix = torch.tensor([[token for token, _ in out]], dtype=torch.long)
            state = prediction(prefix)[:, -1:]
            token = int(joint(x[None, t : t + 1], state)[0, 0, 0].argmax())
            if token == VOCABULARY:
                break
            out.append((token, t))
    return out


@torch.inference_mode()
@pytest.mark.parametrize("loud", [0.0, 3.0])
def test_both_equal_a_plain_reference(loud: float) -> None:
    ctc, prediction, joint = heads(loud=loud)
    x = signal(3, 40)
    lengths = torch.tensor([40, 23, 0])
    for row, tokens in enumerate(CTCGreedy(ctc).decode(Frames.whole(x, lengths))):
        assert plain(tokens) == reference_ctc(ctc, x[row, : lengths[row]])
    for row, tokens in enumerate(RNNTGreedy(prediction, joint).decode(Frames.whole(x, lengths))):
        assert plain(tokens) == reference_rnnt(prediction, joint, x[row, : lengths[row]])
        assert len(tokens) > 3 or row == 2


@torch.inference_mode()
def test_a_frame_yields_at_most_max_symbols() -> None:
    _, prediction, joint = heads(loud=30.0)
    x = signal(2, 5)
    for tokens in RNNTGreedy(prediction, joint, max_symbols=4).decode(Frames.whole(x)):
        assert [token.frame for token in tokens] == [t for t in range(5) for _ in range(4)]


@torch.inference_mode()
def test_log_probabilities_are_those_of_the_heads() -> None:
    ctc, prediction, joint = heads()
    x = signal(1, 30)
    for token in CTCGreedy(ctc).decode(Frames.whole(x))[0]:
        assert token.logprob == pytest.approx(float(ctc(x)[0, token.frame, token.id]), abs=1e-5)
    tokens = RNNTGreedy(prediction, joint).decode(Frames.whole(x))[0]
    score = joint(x, prediction(torch.tensor([[token.id for token in tokens]]))).log_softmax(-1)
    for u, token in enumerate(tokens):
        assert token.logprob == pytest.approx(float(score[0, token.frame, u, token.id]), abs=1e-4)


@pytest.mark.parametrize("kind", ["ctc", "rnnt", "restart"])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_chunking_in_any_slots_equals_the_whole(kind: str, data: st.DataObject) -> None:
    """Streams of unequal length begin before index 0 and sit in shuffled slots; each chunk lists some of them."""
    decode, rows = decoder(kind), 3
    lengths = [data.draw(st.integers(0, 30)) for _ in range(rows)]
    x = signal(rows, 40, seed=data.draw(st.integers(0, 5)))
    slots = data.draw(st.permutations(range(4)))[:rows]
    with torch.inference_mode():
        whole = decode.decode(Frames.whole(x, torch.tensor(lengths)))
        state = decode.init_state(4)
        got: list[list[Token]] = [[] for _ in range(rows)]
        at = [-data.draw(st.integers(0, 3)) for _ in range(rows)]
        while any(at[r] < lengths[r] for r in range(rows)):
            live = [r for r in data.draw(st.permutations(range(rows))) if at[r] < lengths[r]]
            count = data.draw(st.integers(1, 9))
            padded = torch.cat([torch.full((rows, 3, DIM), 9.0), x], 1)  # what lies before the stream must not matter
            chunk = torch.stack([padded[r, at[r] + 3 : at[r] + 3 + count] for r in live])
            stop = [lengths[r] if at[r] + count >= lengths[r] else OPEN for r in live]
            place = Place(torch.tensor([at[r] for r in live]), torch.tensor(stop), count)
            chosen = torch.tensor([slots[r] for r in live])
            for r, tokens in zip(live, decode.step(Frames(chunk, place), state, chosen), strict=True):
                got[r] += tokens
                at[r] += count
    assert [plain(tokens) for tokens in got] == [plain(tokens) for tokens in whole]


@torch.inference_mode()
def test_idle_slots_are_not_touched() -> None:
    for kind in ("ctc", "rnnt"):
        decode = decoder(kind, loud=2.0)
        state = decode.init_state(3)
        decode.step(Frames.whole(signal(3, 8)), state, torch.arange(3))
        before = {name: value.clone() for name, value in state.items()}
        decode.step(Frames.whole(signal(1, 8, seed=7)), state, torch.tensor([1]))
        for name, value in state.items():
            assert torch.equal(value[[0, 2]], before[name][[0, 2]])


@torch.inference_mode()
def test_restart_decodes_what_follows_a_pause_like_a_new_stream() -> None:
    _, prediction, joint = heads(loud=1.0)
    decode = RNNTGreedy(prediction, joint, restart=6)
    joint.out.bias[-1] += 5.0  # so that the blank wins where the bias alone decides
    joint.out.weight.mul_(3.0)
    speech = signal(1, 12, seed=3)
    pause = torch.linalg.lstsq(joint.enc.weight, torch.full((10, 1), -30.0)).solution.T  # turns hidden units off
    pause = 100 * pause.expand(6, -1)[None]
    if decode.decode(Frames.whole(pause)) != [[]]:
        pytest.fail("expected weights for which a pause is blank: choose another seed")
    first = decode.decode(Frames.whole(speech))[0]
    second = decode.decode(Frames.whole(torch.cat([speech, pause, speech], 1)))[0]
    assert first and [(token.id, token.frame - 18) for token in second if token.frame >= 18] == plain(first)
