"""The only tolerances of the kernel tests. `test_tolerances` pins them; nothing relaxes them."""

import torch
from torch import Tensor

MAX_ERROR_RATIO = 2.0
MEAN_ERROR_RATIO = 1.2
"""Against float64, relative to masked SDPA in the same dtype. Both must hold."""

LSE_ERROR = 1e-5
HALF_LSE_ERROR = 2e-4
"""Nats, relative to `max(1, |LSE|)`; PyTorch's CPU kernel takes a coarser exponential for half
precision. One key dropped from a row of 5,000 equal ones is 2e-4."""

FLOAT64_ERROR = 1e-11
"""Between two float64 computations of the same thing."""


def assert_gates(out: Tensor, exact: Tensor, baseline: Tensor, what: str = "output") -> None:
    """`out` is about as close to `exact` (float64) as `baseline`, which has the dtype of `out`."""
    assert out.dtype == baseline.dtype, (out.dtype, baseline.dtype)
    assert torch.isfinite(out).all(), f"{what}: not finite"
    error, allowed = (out.double() - exact).abs(), (baseline.double() - exact).abs()
    # A baseline may be exact by luck where a whole case has few elements.
    luck = torch.finfo(out.dtype).eps * exact.abs().mean() / exact.numel() ** 0.5
    worst, worst_allowed = error.max(), MAX_ERROR_RATIO * allowed.max() + luck
    mean, mean_allowed = error.mean(), MEAN_ERROR_RATIO * allowed.mean() + luck
    assert worst <= worst_allowed, f"{what}: max error {worst:.3e}, allowed {worst_allowed:.3e}"
    assert mean <= mean_allowed, f"{what}: mean error {mean:.3e}, allowed {mean_allowed:.3e}"


def assert_lse(lse: Tensor, exact: Tensor, dtype: torch.dtype) -> None:
    """Same empty rows, same LSE elsewhere, for inputs of `dtype`."""
    limit = LSE_ERROR if dtype.itemsize > 2 else HALF_LSE_ERROR
    empty = exact == -torch.inf
    assert torch.equal(lse == -torch.inf, empty), "LSE: other rows are empty"
    error = (lse.double() - exact)[~empty].abs() / exact[~empty].abs().clamp(min=1)
    assert not error.numel() or error.max() <= limit, f"LSE: error {error.max():.3e}"
