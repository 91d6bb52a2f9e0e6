"""What every implementation has to pass. The mutants are judged by these very functions."""

import pytest
import segment_oracle as oracle
import torch
from segment_cases import FRAME_LOCAL, Case, prompt, table
from segment_known_masks import KnownMask
from segment_tolerances import FLOAT64_ERROR, assert_gates, assert_lse
from torch import Tensor

from prune.kernels import prepare, segment_attention


def poison_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that is allocated and not written holds NaN, as it may in production."""
    new_empty = Tensor.new_empty

    def poisoned(self: Tensor, *args: object, **kwargs: object) -> Tensor:
        x = new_empty(self, *args, **kwargs)
        return x.fill_(torch.nan) if x.is_floating_point() else x

    monkeypatch.setattr(Tensor, "new_empty", poisoned)


def check_matches_oracle(
    case: Case, impl: str, dtype: torch.dtype, device: str | torch.device = "cpu"
) -> None:
    """Output and LSE against the oracle, with NaN in every key that no query reads."""
    q, k, v = case.tensors(dtype, device)
    allowed = oracle.mask(*case.layout, case.queries)
    exact, exact_lse = oracle.attention(q, k, v, allowed, case.scale)
    unread = ~allowed.any(2).repeat_interleave(k.shape[1] // allowed.shape[1], 1)[..., None]
    k, v = (x.masked_fill(unread.to(device), torch.nan) for x in (k, v))
    out, lse = segment_attention(
        q, k, v, *case.layout, scale=case.scale, impl=impl, return_lse=True
    )
    out, lse = out.cpu(), lse.cpu()
    assert out.shape == q.shape and out.dtype == q.dtype
    if dtype == torch.float64:
        assert (out - exact).abs().max() < FLOAT64_ERROR
        assert_lse(lse, exact_lse, dtype)
    else:
        assert lse.dtype == torch.float32
        baseline = oracle.baseline(q, k, v, allowed, case.scale)
        assert_gates(out, exact, baseline.cpu(), case.name)
        assert_lse(lse, exact_lse, dtype)
    assert (out[exact_lse == -torch.inf] == 0).all()


def check_known_mask(
    known: KnownMask, impl: str, dtype: torch.dtype, device: str | torch.device = "cpu"
) -> None:
    """Output under a mask that others name, against its own definition."""
    case = known.case
    q, k, v = case.tensors(dtype, device)
    check_output(case, known.mask, segment_attention(q, k, v, *case.layout, impl=impl))


def check_output(case: Case, allowed: Tensor, out: Tensor) -> None:
    """An output alone against the oracle, under a mask `[B, G, Sq, Sk]`."""
    q, k, v = case.tensors(out.dtype, out.device)
    exact, lse = oracle.attention(q, k, v, allowed, case.scale)
    baseline = oracle.baseline(q, k, v, allowed, case.scale)
    assert_gates(out.cpu(), exact, baseline.cpu(), case.name)
    assert (out.cpu()[lse == -torch.inf] == 0).all()


def check_removed_keys_do_not_matter(
    case: Case, impl: str, dtype: torch.dtype, device: str | torch.device = "cpu"
) -> None:
    """Changing K and V of one run leaves every row that may not read it bit-identical."""
    q, k, v = case.tensors(dtype, device)
    allowed = oracle.mask(*case.layout, case.queries)
    before = segment_attention(q, k, v, *case.layout, impl=impl)
    length = k.shape[2]
    for key in range(0, length, max(1, length // 5)):
        k2, v2 = k.clone(), v.clone()
        k2[:, :, key] += 3.0
        v2[:, :, key] -= 7.0
        after = segment_attention(q, k2, v2, *case.layout, impl=impl)
        reads = allowed[..., key].repeat_interleave(q.shape[1] // allowed.shape[1], 1).to(device)
        assert torch.equal(before[~reads], after[~reads]), f"{case.name}: key {key} leaks"
        if dtype != torch.float16:
            changed = (before != after).any(-1)
            assert changed[reads].all(), f"{case.name}: key {key} is not read"


def check_batch_and_run_invariance(
    case: Case, impl: str, dtype: torch.dtype, device: str | torch.device = "cpu"
) -> None:
    """A second run, and each sequence on its own, give the same bits."""
    q, k, v = case.tensors(dtype, device)
    role, frame, reach = case.layout
    together = segment_attention(q, k, v, role, frame, reach, impl=impl)
    assert torch.equal(together, segment_attention(q, k, v, role, frame, reach, impl=impl))
    for b in range(role.shape[0]):
        one = slice(b, b + 1)
        alone = segment_attention(q[one], k[one], v[one], role[one], frame[one], reach, impl=impl)
        assert torch.equal(alone, together[one]), f"{case.name}: row {b} depends on its batch"


def check_matches_reference(case: Case) -> None:
    """Output, LSE and all three gradients of `sdpa` against `reference`, in float64."""
    inputs = [x.requires_grad_() for x in case.tensors()]
    grad = torch.randn(inputs[0].shape, dtype=torch.float64)
    results = []
    for impl in ("reference", "sdpa"):
        out, lse = segment_attention(*inputs, *case.layout, impl=impl, return_lse=True)
        results.append((out, lse, *torch.autograd.grad(out, inputs, grad)))
    for name, expected, got in zip(("out", "lse", "dq", "dk", "dv"), *results, strict=True):
        assert torch.isfinite(got).all() or name == "lse", f"{case.name}: {name} is not finite"
        equal = torch.isclose(expected, got, rtol=FLOAT64_ERROR, atol=FLOAT64_ERROR)
        assert equal.all(), f"{case.name}: {name} differs by {(expected - got).abs().max():.1e}"


def check_memory_is_linear(
    impl: str, dtype: torch.dtype, device: str | torch.device = "cpu", backward: bool = False
) -> None:
    """The largest tensor any operator returns stays linear in the number of tokens."""
    largest = {}
    for frames in (8, 32):
        case = Case("memory", *prompt(frames, tokens=16, text=20), table(**FRAME_LOCAL))
        inputs = [x.requires_grad_(backward) for x in case.tensors(dtype, device)]
        layout = prepare(case.role, case.frame)
        with LargestTensor() as seen:
            out = segment_attention(*inputs, layout, None, case.reach, impl=impl)
            if backward:
                out.sum().backward()
        largest[frames] = seen.elements
    assert largest[32] <= 4.5 * largest[8], largest


class LargestTensor(torch.utils._python_dispatch.TorchDispatchMode):
    """Elements of the largest storage that an operator returned while the mode was on."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for x in result if isinstance(result, tuple | list) else (result,):
            if isinstance(x, torch.Tensor):
                self.elements = max(self.elements, x.untyped_storage().nbytes() // x.element_size())
        return result
