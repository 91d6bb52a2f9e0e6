"""torch.compile of code that calls the operation."""

from collections.abc import Callable

import pytest
import torch
from segment_cases import FRAME_LOCAL, Case, prompt, table
from torch import Tensor

from prune.kernels import prepare, read_reach, segment_attention
from prune.kernels.segment_attention.compiled import operator

CASE = Case("frame local", *prompt(), table(**FRAME_LOCAL), heads=(4, 2))


def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend="aot_eager")


@pytest.mark.parametrize("impl", ["sdpa", "reference", "auto"])
@pytest.mark.parametrize("prepared", [False, True])
def test_a_compiled_caller_gives_the_same(impl: str, prepared: bool) -> None:
    q, k, v = CASE.tensors(torch.float32)
    layout = (prepare(CASE.role, CASE.frame), None, read_reach(CASE.reach))
    arguments = layout if prepared else CASE.layout

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return segment_attention(2 * q, k, v, *arguments, impl=impl) * 3  # type: ignore[call-overload,no-any-return]

    assert torch.allclose(compiled(attend)(q, k, v), attend(q, k, v), rtol=0, atol=5e-6)


def test_gradients_go_through() -> None:
    inputs = [x.requires_grad_() for x in CASE.tensors(torch.float64)]

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return segment_attention(q, k, v, *CASE.layout).sin().sum()

    expected = torch.autograd.grad(attend(*inputs), inputs)
    found = torch.autograd.grad(compiled(attend)(*inputs), inputs)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-11)


def test_the_operator_is_sound() -> None:
    inputs = [x.requires_grad_() for x in CASE.tensors(torch.float64)]
    role, frame, reach = CASE.layout
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(operator, (*inputs, role, frame, reach, 0.25, "sdpa"), test_utils=tests)


def test_what_is_malformed_is_refused_when_it_runs() -> None:
    q, k, v = CASE.tensors(torch.float32)
    role, frame, reach = CASE.layout

    def attend(q: Tensor) -> Tensor:
        return segment_attention(q, k, v, role[:, 1:], frame[:, 1:], reach)

    with pytest.raises(ValueError, match="role: expected shape"):
        compiled(attend)(q)
