"""`speech bench kernels`: what it compares and says where there is no card. Times are measured on one."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks.kernels.case import Case
from benchmarks.kernels.registry import OPS, cases
from benchmarks.kernels.run import difference, elsewhere, floor, predicted
from benchmarks.run import main
from speech.errors import SpeechError

NO_CARD = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card here")


def case(kernel: torch.Tensor, reference: torch.Tensor) -> Case:
    return Case("some op, B 1", lambda _device, _dtype: ((lambda: kernel), (lambda: reference)), 4300, 790)


def compared(found: Case) -> float:
    return difference(found, *found.make(torch.device("cpu"), torch.float32), torch.float32)


def test_every_op_has_cases_with_names_of_their_own() -> None:
    names = [each.name for op in OPS for each in cases(op)]
    assert len(set(names)) == len(names) > len(OPS)
    assert all(each.bytes > 0 and each.flops >= 0 for op in OPS for each in cases(op))


def test_the_floor_is_the_slower_of_memory_and_arithmetic() -> None:
    same = case(torch.ones(1), torch.ones(1))
    assert floor(same, 4.3, 790) == pytest.approx(1e-3)
    assert floor(same, 4.3, 7.9e-3) == pytest.approx(0.1)


def test_a_prediction_is_above_the_floor_and_grows_with_launches() -> None:
    for each in (each for op in OPS for each in cases(op)):
        least = floor(each, 4.3, 790)
        assert predicted(each, least) > least + each.waits
    assert predicted(case(torch.ones(1), torch.ones(1)), 6.0) == pytest.approx(12.0)


def test_what_differs_is_not_timed() -> None:
    exact = torch.tensor([3.0, 4.0])
    assert compared(case(exact * (1 + 1e-5), exact)) == pytest.approx(1e-5, rel=1e-2)
    for wrong in (exact * 1.001, exact * float("nan")):
        with pytest.raises(SpeechError, match=r"expected the kernel of 'some op, B 1' within 0\.0001"):
            compared(case(wrong, exact))
    assert compared(case(torch.tensor([1, 2]), torch.tensor([1, 2]))) == 0
    with pytest.raises(SpeechError, match="do not trust its time"):
        compared(case(torch.tensor([1, 3]), torch.tensor([1, 2])))


@NO_CARD
def test_without_a_card_there_is_nothing_to_measure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernels"]) == 0
    out, err = capsys.readouterr()
    assert not out and err == "speech: there is no CUDA card here, so there is nothing to measure\n"


@NO_CARD
def test_smoke_interprets_the_first_case_of_an_op(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    assert main(["kernels", "--smoke", "--json", "--op", "quantised_linear"]) == 0
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert row["case"] == next(cases("quantised_linear")).name and row["metric"] == "difference"
    assert 0 < row["value"] < 1e-4


@NO_CARD
def test_smoke_takes_a_process_of_its_own_where_triton_was_not_told_to_interpret() -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    (result,) = elsewhere(["transducer_loss"])
    assert result.case == next(cases("transducer_loss")).name and 0 < result.value < 1e-4
