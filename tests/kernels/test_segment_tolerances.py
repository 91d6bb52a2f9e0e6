import pytest
import segment_tolerances as tolerances
import torch
from segment_tolerances import assert_gates


def test_nobody_has_loosened_the_gates() -> None:
    assert tolerances.MAX_ERROR_RATIO == 2.0
    assert tolerances.MEAN_ERROR_RATIO == 1.2
    assert tolerances.LSE_ERROR == 1e-5
    assert tolerances.HALF_LSE_ERROR == 2e-4
    assert tolerances.FLOAT64_ERROR == 1e-11


@pytest.mark.parametrize("wrong", ["one element", "everything a little"])
def test_each_gate_closes_alone(wrong: str) -> None:
    generator = torch.Generator().manual_seed(0)
    exact = torch.randn(4, 8, 64, 64, generator=generator, dtype=torch.float64)
    baseline = exact.bfloat16()
    assert_gates(baseline, exact, baseline)
    out = baseline.clone()
    if wrong == "one element":
        out[0, 0, 0, 0] += 0.125
    else:
        out = (exact + (baseline.double() - exact).abs().mean()).bfloat16()
    with pytest.raises(AssertionError, match="max" if wrong == "one element" else "mean"):
        assert_gates(out, exact, baseline)
