"""The Triton kernels: on a GPU where there is one, otherwise small cases in the interpreter."""

import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_cases import FRAME_LOCAL, Case, large, named, prompt, random_case, stacked, table
from segment_checks import (
    check_batch_and_run_invariance,
    check_known_mask,
    check_matches_oracle,
    check_memory_is_linear,
    check_removed_keys_do_not_matter,
)
from segment_known_masks import KnownMask, known_masks

from prune.kernels import NONE, segment_attention
from prune.kernels.segment_attention import device_work, worklist
from prune.kernels.segment_attention import programs as kernels

DEVICE = "cpu" if kernels.INTERPRETED else "cuda"
# The interpreter rounds bfloat16 products in its own way.
DTYPES = [torch.float32, torch.float16] + ([] if kernels.INTERPRETED else [torch.bfloat16])
CASES = [pytest.param(case, id=case.name) for case in named()]
gpu = pytest.mark.gpu


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", [*CASES, *[pytest.param(c, id=c.name) for c in large()]])
def test_matches_the_oracle(case: Case, dtype: torch.dtype) -> None:
    check_matches_oracle(case, "triton", dtype, DEVICE)


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("known", [pytest.param(k, id=k.case.name) for k in known_masks()])
def test_attention_under_a_known_mask(known: KnownMask, dtype: torch.dtype) -> None:
    check_known_mask(known, "triton", dtype, DEVICE)


@pytest.mark.parametrize("case", CASES[:12])
def test_removed_keys_do_not_matter(case: Case) -> None:
    check_removed_keys_do_not_matter(case, "triton", torch.float32, DEVICE)


@pytest.mark.parametrize("name", ["padded batch", "decode gqa", "per KV head, batch"])
def test_is_batch_invariant(name: str) -> None:
    case = next(case for case in named() if case.name == name)
    check_batch_and_run_invariance(case, "triton", torch.float32, DEVICE)


def test_a_cut_row_is_batch_invariant() -> None:
    role, frame = stacked(prompt(20, 36, 4), prompt(1, 30, 4))
    case = Case("cut", role, frame, table(), heads=(1, 1), head_dim=8, num_queries=3)
    check_batch_and_run_invariance(case, "triton", torch.float32, DEVICE)


def test_tall_tiles_match_the_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a GPU long rows have them; in the interpreter such rows would take minutes.
    for name in ("TALL_ROWS", "TALL_KEYS"):
        monkeypatch.setattr(worklist, name, 1)
    for cache in (worklist.work_list, device_work._on_device):
        cache.cache_clear()
    try:
        for case in (
            Case("tall causal", *prompt(2, 70, 40, 20), table(), (2, 1), 72),
            Case("tall, cut", *prompt(9, 144, 40, 20), table(**FRAME_LOCAL), (1, 1), 80, 70),
        ):
            check_matches_oracle(case, "triton", torch.float16, DEVICE)
    finally:
        for cache in (worklist.work_list, device_work._on_device):
            cache.cache_clear()


def test_a_negative_scale_and_none() -> None:
    for scale in (-0.3, 0.0):
        case = Case("scaled", *prompt(), table(**FRAME_LOCAL), scale=scale)
        check_matches_oracle(case, "triton", torch.float32, DEVICE)


def test_bfloat16_is_refused_in_the_interpreter() -> None:
    case = Case("refused", *prompt(), table())
    if kernels.INTERPRETED:
        with pytest.raises(NotImplementedError, match="bfloat16 in Triton's interpreter"):
            segment_attention(*case.tensors(torch.bfloat16, DEVICE), *case.layout, impl="triton")


@settings(
    max_examples=120 if kernels.INTERPRETED else 2000,
    derandomize=True,
    deadline=None,
    database=None,
)
@given(st.integers(0, 2**31))
def test_equals_the_reference_on_random_layouts(seed: int) -> None:
    # 24 rows are two tiles in float32; the interpreter's time is that of its tiles.
    case = random_case(seed, longest=24 if kernels.INTERPRETED else 40)
    # Half precision has other tiles, and packs the heads of a KV head.
    dtype, error = ((torch.float32, 4e-6), (torch.float16, 4e-3))[seed % 2]
    q, k, v = case.tensors(dtype, DEVICE)
    layout = case.layout
    expected, expected_lse = segment_attention(q, k, v, *layout, impl="reference", return_lse=True)
    out, lse = segment_attention(q, k, v, *layout, impl="triton", return_lse=True)
    torch.testing.assert_close(out, expected, rtol=0, atol=error)
    torch.testing.assert_close(lse, expected_lse, rtol=0, atol=4e-6)


def test_memory_orders_do_not_matter() -> None:
    case = Case("orders", *prompt(), table(**FRAME_LOCAL), heads=(4, 2))
    q, k, v = case.tensors(torch.float32, DEVICE)
    expected = segment_attention(q, k, v, *case.layout, impl="triton")
    transposed = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v)]
    assert torch.equal(segment_attention(*transposed, *case.layout, impl="triton"), expected)
    # Strides that 16 bytes do not divide.
    odd = [torch.nn.functional.pad(x, (0, 3))[..., :16] for x in (q, k, v)]
    assert torch.equal(segment_attention(*odd, *case.layout, impl="triton"), expected)


def test_no_allocation_grows_with_the_square() -> None:
    check_memory_is_linear("triton", torch.float16, DEVICE)


def test_strides_beyond_32_bits() -> None:
    case = Case("far", *prompt(), table(**FRAME_LOCAL))
    q, k, v = case.tensors(torch.float16, DEVICE)
    expected = segment_attention(q, k, v, *case.layout, impl="triton")
    # On a CPU the pages between the two heads are never touched, and so never exist.
    buffer = torch.empty(2**31 + 3 * q[0, 0].numel(), dtype=q.dtype, device=DEVICE)
    far = []
    for i, x in enumerate((q, k, v)):
        strides = (0, 2**31, x.shape[3], 1)
        far.append(buffer.as_strided(x.shape, strides, i * x[0, 0].numel()).copy_(x))
    assert torch.equal(segment_attention(*far, *case.layout, impl="triton"), expected)


def test_refuses_what_it_cannot_do() -> None:
    case = Case("refused", *prompt(), table())
    q, k, v = case.tensors(torch.float32, DEVICE)
    with pytest.raises(NotImplementedError, match="forward only"):
        segment_attention(q.requires_grad_(), k, v, *case.layout, impl="triton")
    with torch.no_grad():
        segment_attention(q, k, v, *case.layout, impl="triton")
    with pytest.raises(NotImplementedError, match="float64"):
        segment_attention(*case.tensors(torch.float64, DEVICE), *case.layout, impl="triton")
    wide = Case("wide", *prompt(), table(), head_dim=257).tensors(torch.float32, DEVICE)
    with pytest.raises(NotImplementedError, match="head_dim 257"):
        segment_attention(*wide, *case.layout, impl="triton")


@gpu
@pytest.mark.parametrize("density", ["causal", "frame local", "window 4", "dead"])
@pytest.mark.parametrize("heads", [(1, 1), (4, 4), (7, 1), (28, 4), (8, 8)], ids=str)
@pytest.mark.parametrize("head_dim", [64, 72, 80, 96, 128, 256])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("rows", [None, 1, 5, 63, 123])
def test_full_matrix(
    dtype: torch.dtype, head_dim: int, heads: tuple[int, int], density: str, rows: int | None
) -> None:
    if kernels.INTERPRETED:
        pytest.skip("needs a GPU")
    patterns = {
        "causal": {},
        "frame local": FRAME_LOCAL,
        "window 4": {"video_video": 4},
        "dead": {"video_video": NONE, "text_video": NONE},
    }
    for tokens in (36, 144):
        layout = prompt(6, tokens, 40, 84, left_padding=3)
        case = Case(density, *layout, table(**patterns[density]), heads, head_dim, rows)
        check_matches_oracle(case, "triton", dtype, "cuda")


@gpu
def test_a_thousand_runs_give_the_same_bits() -> None:
    if kernels.INTERPRETED:
        pytest.skip("needs a GPU")
    case = Case("repeat", *prompt(16, 144, 40, 84), table(**FRAME_LOCAL), (8, 8), 128)
    q, k, v = case.tensors(torch.bfloat16, "cuda")
    first = segment_attention(q, k, v, *case.layout, impl="triton")
    for _ in range(1000):
        assert torch.equal(segment_attention(q, k, v, *case.layout, impl="triton"), first)


@gpu
def test_a_new_length_does_not_recompile() -> None:
    if kernels.INTERPRETED:
        pytest.skip("needs a GPU")

    def variants() -> int:
        return sum(len(cache[0]) for cache in kernels.segment_kernel.device_caches.values())

    def run(frames: int, tokens: int) -> None:
        case = Case("grow", *prompt(frames, tokens, 7, 9), table(**FRAME_LOCAL), (2, 2), 72)
        segment_attention(*case.tensors(torch.bfloat16, "cuda"), *case.layout, impl="triton")

    run(8, 36)
    before = variants()
    for frames, tokens in [(9, 36), (8, 37), (16, 48), (17, 51)]:
        run(frames, tokens)
    assert variants() == before


def test_is_interpreted_where_it_was_asked() -> None:
    assert kernels.INTERPRETED == (os.environ.get("TRITON_INTERPRET") == "1")
