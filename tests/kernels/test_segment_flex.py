"""FlexAttention as an implementation: its mask and its blocks, and what is compiled of them."""

from dataclasses import replace

import pytest
import segment_oracle as oracle
import torch
from segment_cases import FRAME_LOCAL, SEALED, Case, large, named, per_head, prompt, stacked, table
from segment_checks import check_output
from torch.nn.attention.flex_attention import flex_attention

from prune.kernels import prepare, read_reach, segment_attention
from prune.kernels.segment_attention import flex

CASES = [pytest.param(case, id=case.name) for case in named()]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("case", CASES)
def test_its_mask_matches_the_oracle(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flex, "_compiled", lambda: flex_attention)
    check(case, torch.float32)


def check(case: Case, dtype: torch.dtype) -> None:
    """Against the oracle, with NaN in every key that no query reads."""
    q, k, v = case.tensors(dtype)
    allowed = oracle.mask(*case.layout, case.queries)
    unread = ~allowed.any(2).repeat_interleave(k.shape[1] // allowed.shape[1], 1)[..., None]
    k, v = (x.masked_fill(unread, torch.nan) for x in (k, v))
    out = segment_attention(q, k, v, *case.layout, scale=case.scale, impl="flex")
    check_output(case, allowed, out)


@pytest.mark.parametrize("case", [*named(), *large()], ids=lambda case: case.name)
def test_its_blocks_have_every_edge(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 16
    monkeypatch.setattr(flex, "BLOCK", size)
    flex._edges.cache_clear()
    per_kv_head = case.heads[0] // case.heads[1]
    role, frame, reach = case.layout
    edges = flex._edges(
        prepare(role, frame), case.queries, read_reach(reach), per_kv_head, torch.device("cpu")
    )
    flex._edges.cache_clear()
    mask = oracle.mask(*case.layout, case.queries)
    if mask.shape[1] > 1:
        mask = mask.repeat_interleave(per_kv_head, 1)
    rows, keys = (-(-length // size) * size for length in mask.shape[2:])
    padded = torch.zeros(*mask.shape[:2], rows, keys, dtype=torch.bool)
    padded[..., : mask.shape[2], : mask.shape[3]] = mask
    blocks = padded.unflatten(3, (-1, size)).unflatten(2, (-1, size)).transpose(3, 4)
    lists = edges.blocks
    assert lists.full_kv_num_blocks is not None and lists.full_kv_indices is not None
    full = chosen(lists.full_kv_num_blocks, lists.full_kv_indices)
    partly = chosen(lists.kv_num_blocks, lists.kv_indices)
    assert torch.equal(full, blocks.all(-1).all(-1))
    assert not (full & partly).any()
    some = blocks.any(-1).any(-1)
    assert (some <= (full | partly)).all(), "no edge is skipped"
    # Runs that read each other may meet in a block on the diagonal on the wrong side of it.
    assert (full | partly).sum() <= some.sum() + some[..., 0].numel()


def chosen(counts: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """The listed blocks as bool `[B, H, Q, K]`."""
    listed = torch.arange(indices.shape[-1]) < counts[..., None]
    return torch.zeros(indices.shape, dtype=torch.bool).scatter_(3, indices.long(), listed)


@pytest.mark.timeout(600)
def test_compiled_it_matches_the_oracle() -> None:
    """Several tiles of two prompts of unequal length, with GQA and a table per head."""
    role, frame = stacked(prompt(3, 70, 9, 20), prompt(2, 65, 3))
    case = Case("compiled", role, frame, per_head(FRAME_LOCAL, SEALED), (4, 2))
    for dtype in (torch.float32, torch.bfloat16):
        check(case, dtype)
    other = replace(case, reach=per_head({}, {"video_video": 1}))
    check(other, torch.float32)


def test_what_it_does_not_support_is_refused() -> None:
    case = Case("refused", *prompt(), table())
    with pytest.raises(NotImplementedError, match="float64"):
        segment_attention(*case.tensors(), *case.layout, impl="flex")
    with pytest.raises(NotImplementedError, match="LSE"):
        tensors = case.tensors(torch.float32)
        segment_attention(*tensors, *case.layout, impl="flex", return_lse=True)
    inputs = [x.requires_grad_() for x in case.tensors(torch.float32)]
    with pytest.raises(NotImplementedError, match="gradients"):
        segment_attention(*inputs, *case.layout, impl="flex")
