from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import segment_oracle as oracle
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_cases import FRAME_LOCAL, SEALED, Case, named, prompt, random_case, stacked, table
from segment_checks import (
    check_batch_and_run_invariance,
    check_matches_oracle,
    check_matches_reference,
    check_memory_is_linear,
    check_removed_keys_do_not_matter,
)
from segment_tolerances import assert_gates
from torch import Tensor

from prune.kernels import NONE, segment_attention
from prune.kernels.segment_attention import flash, one_call
from prune.kernels.segment_attention import sdpa as sdpa_module

CASES = [pytest.param(case, id=case.name) for case in named()]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("impl", ["reference", "sdpa", "auto"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_matches_the_oracle(case: Case, dtype: torch.dtype, impl: str) -> None:
    check_matches_oracle(case, impl, dtype)


@pytest.fixture(params=["one call", "blocks"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of `sdpa`: the cases are small enough for one call."""
    if request.param == "blocks":
        monkeypatch.setattr(sdpa_module, "is_small", lambda q, k, v: False)
    return str(request.param)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_one_call_matches_the_oracle(case: Case, dtype: torch.dtype) -> None:
    q, k, v = case.tensors(dtype)
    assert one_call.is_small(q, k, v)
    allowed = oracle.mask(*case.layout, case.queries)
    doubles = [x.double() for x in (q, k, v)]
    exact, lse = oracle.attention(*doubles, allowed, case.scale)
    out = segment_attention(q, k, v, *case.layout, scale=case.scale, impl="sdpa")
    assert (out[lse == -torch.inf] == 0).all()
    if dtype == torch.float64:
        torch.testing.assert_close(out, exact, atol=1e-12, rtol=0)
    else:
        assert_gates(out, exact, oracle.baseline(q, k, v, allowed, case.scale), case.name)


@pytest.mark.parametrize("case", CASES)
def test_removed_keys_do_not_matter(case: Case, way: str) -> None:
    check_removed_keys_do_not_matter(case, "sdpa", torch.float32)


@pytest.mark.parametrize("case", CASES)
def test_removed_keys_do_not_matter_to_the_reference(case: Case) -> None:
    check_removed_keys_do_not_matter(case, "reference", torch.float32)


def test_masks_are_found_by_content() -> None:
    case = Case("cached", *prompt(), table(**FRAME_LOCAL))
    tensors = case.tensors(torch.float32)
    role, frame, reach = case.layout
    one_call._mask.cache_clear()
    outs = [
        segment_attention(*tensors, role.clone(), frame.clone(), reach.clone()) for _ in range(2)
    ]
    assert one_call._mask.cache_info()[:2] == (1, 1)
    frame[frame == 1] = 0
    other = segment_attention(*tensors, role, frame, reach)
    assert torch.equal(*outs) and not torch.equal(outs[0], other)


BATCHES = [case for case in named() if case.role.shape[0] > 1]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in BATCHES])
def test_is_batch_invariant(case: Case, dtype: torch.dtype, threads: int, way: str) -> None:
    torch.set_num_threads(threads)
    check_batch_and_run_invariance(case, "sdpa", dtype)


@settings(max_examples=500, derandomize=True, deadline=None, database=None)
@given(st.integers(0, 2**31))
def test_equals_the_reference_on_random_layouts(seed: int) -> None:
    """Outputs, LSE and all three gradients."""
    check_matches_reference(random_case(seed))


@pytest.mark.slow
@settings(max_examples=20000, derandomize=True, deadline=None, database=None)
@given(st.integers(0, 2**31))
def test_equals_the_reference_on_many_random_layouts(seed: int) -> None:
    check_matches_reference(random_case(seed, longest=120))


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(st.integers(0, 2**31))
def test_the_plain_backend_equals_the_reference(seed: int) -> None:
    """What runs where PyTorch offers no operator with an LSE."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sdpa_module, "backend_for", lambda q: flash.Plain)
        patch.setattr(flash.Plain, "ROWS", 7)
        check_matches_reference(random_case(seed))


DRAWS = 24
"""The cases are small: the largest of a few hundred rounding errors varies by a factor of 2."""


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_gradients_pass_the_gates(case: Case, dtype: torch.dtype) -> None:
    allowed = oracle.mask(*case.layout, case.queries)
    draws = [gradients(replace(case, seed=seed), dtype, allowed) for seed in range(DRAWS)]
    for i, name in enumerate(("dq", "dk", "dv")):
        got, exact, baseline = (torch.stack([draw[j][i] for draw in draws]) for j in range(3))
        assert_gates(got, exact, baseline, f"{case.name} {name}")


def gradients(case: Case, dtype: torch.dtype, allowed: torch.Tensor) -> tuple[tuple, ...]:
    """dQ, dK and dV of `sdpa`, in float64, and of masked SDPA."""
    inputs = [x.requires_grad_() for x in case.tensors(dtype)]
    doubles = [x.detach().double().requires_grad_() for x in inputs]
    generator = torch.Generator().manual_seed(case.seed + 1)
    grad = torch.randn(inputs[0].shape, generator=generator).to(dtype)
    out = segment_attention(*inputs, *case.layout, scale=case.scale, impl="sdpa")
    return (
        torch.autograd.grad(out, inputs, grad),
        torch.autograd.grad(oracle.baseline(*doubles, allowed, case.scale), doubles, grad.double()),
        torch.autograd.grad(oracle.baseline(*inputs, allowed, case.scale), inputs, grad),
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("window", [0, 1])
def test_pieces_that_a_kernel_rounds_pass_the_gates(
    window: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As FlashAttention-2 rounds them on a GPU: merged in float32 they are close enough."""
    monkeypatch.setattr(sdpa_module, "is_small", lambda q, k, v: False)
    monkeypatch.setattr(flash.CpuFlash, "float32", False)
    reach = table(video_video=window)
    case = Case("rounded pieces", *prompt(8, 36, 20, 40), reach, (4, 2), 64)
    allowed = oracle.mask(*case.layout, case.queries)
    outs = []
    for seed in range(4):
        q, k, v = replace(case, seed=seed).tensors(dtype)
        out = segment_attention(q, k, v, *case.layout, impl="sdpa")
        exact, _ = oracle.attention(q, k, v, allowed)
        outs.append((out, exact, oracle.baseline(q, k, v, allowed)))
    assert_gates(*(torch.stack(column) for column in zip(*outs, strict=True)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("heads", [(4, 4), (6, 2)], ids=str)
@pytest.mark.parametrize("rows", [126, 6, 1])
def test_with_all_edges_it_is_dense_sdpa_bit_for_bit(
    rows: int, heads: tuple[int, int], dtype: torch.dtype
) -> None:
    """Also the rows behind a video whose frames do not read each other."""
    reach = table() if rows == 126 else table(**FRAME_LOCAL)
    case = Case("dense", *prompt(6, tokens=20, system=0), reach, heads, num_queries=rows)
    q, k, v = case.tensors(dtype)
    mask = torch.ones(rows, 126, dtype=torch.bool).tril(126 - rows) if rows == 6 else None
    dense = F.scaled_dot_product_attention(q, k, v, mask, is_causal=rows == 126, enable_gqa=True)
    assert torch.equal(segment_attention(q, k, v, *case.layout, impl="auto"), dense)


def test_memory_orders_do_not_matter() -> None:
    """Contiguous, transposed as a model makes it, a slice of a larger buffer, stride 0."""
    case = Case("orders", *stacked(prompt(), prompt(frames=3)), table(**FRAME_LOCAL), heads=(4, 2))
    q, k, v = case.tensors(torch.float32)
    expected = segment_attention(q, k, v, *case.layout, impl="sdpa")

    def transposed(x: torch.Tensor) -> torch.Tensor:
        return x.transpose(1, 2).contiguous().transpose(1, 2)

    def sliced(x: torch.Tensor) -> torch.Tensor:
        buffer = torch.full((*x.shape[:2], x.shape[2] + 3, x.shape[3] + 5), torch.nan)
        buffer[:, :, 3:, 5:] = x
        return buffer[:, :, 3:, 5:]

    for order in (transposed, sliced):
        got = segment_attention(*(order(x) for x in (q, k, v)), *case.layout, impl="sdpa")
        assert torch.equal(got, expected)
    shared = k[:, :1].expand(-1, 2, -1, -1)
    got = segment_attention(q, shared, shared, *case.layout, impl="sdpa")
    shared = shared.contiguous()
    assert torch.equal(got, segment_attention(q, shared, shared, *case.layout, impl="sdpa"))


def test_padding_and_unread_keys_carry_no_gradient() -> None:
    case = Case("dead", *prompt(left_padding=3), table(**SEALED, system_system=NONE))
    q, k, v = (x.requires_grad_() for x in case.tensors())
    segment_attention(q, k, v, *case.layout, impl="sdpa").sum().backward()
    unread = ~oracle.mask(*case.layout, case.queries)[0, 0].any(0)
    assert unread.any()
    assert k.grad is not None and (k.grad[:, :, unread] == 0).all()
    assert v.grad is not None and (v.grad[:, :, unread] == 0).all()


def test_a_mask_of_few_rows_behind_many_keys_is_as_small_as_its_tile() -> None:
    """The square of these keys would take 64 GB: what two rows read takes 1 MB."""
    bias = one_call._bias(131_070, 131_072, ((0, 2, 7, 9),), torch.float32)
    assert bias.shape == (1, 1, 2, 131_072)
    assert bias[0, 0].isinf().nonzero().tolist() == [[0, 7], [0, 8], [0, 131_071], [1, 7], [1, 8]]


IDLE = {f"video_{role}": NONE for role in ("system", "video", "timestamp", "text", "last")}


@pytest.mark.parametrize(
    "edges", [SEALED, IDLE, {**SEALED, **IDLE}], ids=["sealed", "idle", "both"]
)
@pytest.mark.parametrize("text", [20, 80])
def test_tiles_of_a_longer_prompt(edges: dict[str, int], text: int) -> None:
    """The first tile ends behind rows that read something, the second has none in `IDLE`. What is
    left at the end is a tile, or part of one."""
    frames = prompt(frames=6, tokens=50, system=30, text=text)
    case = Case("long", *frames, table(**edges))
    check_matches_oracle(case, "sdpa", torch.float32)
    check_removed_keys_do_not_matter(case, "sdpa", torch.float32)
    q, k, v = case.tensors(torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        called: list[int] = []
        run = one_call.sdpa

        def counted(q: Tensor, k: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            called.append(k.shape[2])
            return run(q, k, *args, **kwargs)

        patch.setattr(one_call, "sdpa", counted)
        segment_attention(q, k, v, *case.layout, impl="sdpa")
    length, size = q.shape[2], one_call.TILE_ROWS
    begins = [row for row in range(0, length, size) if length - row > size // 2]
    tiles = list(pairwise([*begins, length]))
    # Between those rows and the text the idle ones stand.
    idle = [begin >= 30 and end <= length - text - 1 for begin, end in tiles]
    assert any(idle)
    # In `SEALED` nothing reads the last key.
    most = length - ("last_last" in edges)
    reads = [edges is SEALED or not left for left in idle]
    assert called == [min(end, most) for (_, end), read in zip(tiles, reads, strict=True) if read]


def test_no_allocation_grows_with_the_square() -> None:
    check_memory_is_linear("sdpa", torch.float32, backward=True)
