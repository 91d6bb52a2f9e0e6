"""The specification against sentences of the design, and against the oracle."""

import pytest
import segment_oracle as oracle
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_cases import (
    FRAME_LOCAL,
    TEXT,
    VIDEO,
    Case,
    named,
    prompt,
    random_case,
    table,
)

from prune.kernels import ALL, NONE, allowed_edges, prepare, segment_attention
from prune.kernels.segment_attention.blocks import density, split
from prune.kernels.segment_attention.layout import read_reach


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in named()])
def test_the_mask_is_the_sentence_in_the_design(case: Case) -> None:
    expected = oracle.mask(*case.layout, case.queries)
    assert torch.equal(allowed_edges(*case.layout, case.queries), expected)


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(st.integers(0, 2**31))
def test_the_mask_on_random_layouts(seed: int) -> None:
    case = random_case(seed)
    expected = oracle.mask(*case.layout, case.queries)
    assert torch.equal(allowed_edges(*case.layout, case.queries), expected)


def edges(role: torch.Tensor, frame: torch.Tensor, reach: torch.Tensor) -> torch.Tensor:
    return allowed_edges(role, frame, reach, role.shape[1])[0, 0]


def test_everything_is_plain_causal() -> None:
    role, frame = prompt()
    length = role.shape[1]
    assert torch.equal(edges(role, frame, table()), torch.ones(length, length).tril().bool())


def test_frame_local_video_reads_its_frame_and_all_text_reads_all() -> None:
    role, frame = prompt(frames=3, tokens=2, system=1, text=1)
    allowed = edges(role, frame, table(**FRAME_LOCAL))
    assert allowed[6].nonzero()[:, 0].tolist() == [0, 5, 6]  # the last video token
    assert allowed[7].nonzero()[:, 0].tolist() == list(range(8))  # text


@pytest.mark.parametrize(("window", "first"), [(0, 4), (1, 3), (2, 2), (9, 1), (ALL, 1)])
def test_a_window_is_counted_in_frames_back(window: int, first: int) -> None:
    role, frame = prompt(frames=4, tokens=1, system=1, text=0)
    allowed = edges(role, frame, table(video_video=window, video_system=NONE))
    assert allowed[4].nonzero()[:, 0].tolist() == list(range(first, 5))


def test_none_removes_the_diagonal_too() -> None:
    role, frame = prompt(frames=2, tokens=2)
    allowed = edges(role, frame, table(video_video=NONE))
    video = role[0] == VIDEO
    assert not allowed[video][:, video].any()


def test_text_is_at_distance_zero() -> None:
    role, frame = prompt(frames=3, tokens=1, text=1)
    allowed = edges(role, frame, table(text_video=0))
    assert allowed[role[0] == TEXT][:, role[0] == VIDEO].all()


def test_distance_is_absolute() -> None:
    """A frame that comes later in the clip but earlier in the prompt is not at distance -1."""
    role = torch.full((1, 2), VIDEO, dtype=torch.int8)
    frame = torch.tensor([[5, 4]], dtype=torch.int32)
    assert not edges(role, frame, table(video_video=0))[1, 0]
    assert not edges(role, frame, table(video_video=NONE)).any()
    assert edges(role, frame, table(video_video=1))[1, 0]


def test_frames_at_the_ends_of_int32() -> None:
    role = torch.full((1, 2), VIDEO, dtype=torch.int8)
    frame = torch.tensor([[0, 2**31 - 1]], dtype=torch.int32)
    for reach, expected in ((ALL, True), (ALL - 1, False)):
        reaches = table(video_video=reach)
        assert bool(edges(role, frame, reaches)[1, 0]) is expected
        q = torch.randn(1, 1, 2, 8, dtype=torch.float64)
        a, b = (
            segment_attention(q, q, q, role, frame, reaches, impl=i) for i in ("reference", "sdpa")
        )
        torch.testing.assert_close(a, b)


def test_padding_neither_reads_nor_is_read() -> None:
    role, frame = prompt(left_padding=2)
    allowed = edges(role, frame, table())
    assert not allowed[:2].any() and not allowed[:, :2].any()


def test_queries_are_the_last_positions() -> None:
    role, frame = prompt()
    whole = allowed_edges(role, frame, table(**FRAME_LOCAL), role.shape[1])
    assert torch.equal(allowed_edges(role, frame, table(**FRAME_LOCAL), 5), whole[:, :, -5:])


@pytest.mark.parametrize("impl", ["reference", "sdpa"])
def test_an_empty_row_is_zero_and_minus_infinity(impl: str) -> None:
    role, frame = prompt()
    reach = table(last_last=NONE, last_system=NONE, last_video=NONE, last_text=NONE)
    q = torch.randn(1, 2, role.shape[1], 8)
    out, lse = segment_attention(q, q, q, role, frame, reach, impl=impl, return_lse=True)
    assert (out[:, :, -1] == 0).all() and (lse[:, :, -1] == -torch.inf).all()
    assert torch.isfinite(lse[:, :, :-1]).all()


@pytest.mark.parametrize("impl", ["reference", "sdpa"])
def test_no_queries_give_nothing(impl: str) -> None:
    role, frame = prompt()
    k = torch.randn(1, 2, role.shape[1], 8)
    out, lse = segment_attention(k[:, :, :0], k, k, role, frame, table(), 1.0, impl, True)  # type: ignore[call-overload]
    assert out.shape == (1, 2, 0, 8) and lse.shape == (1, 2, 0)


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.integers(0, 2**31))
def test_blocks_hold_every_edge_once(seed: int) -> None:
    """The edges the SDPA blocks visit are the edges of the mask, in number."""
    case = random_case(seed)
    parts = split(prepare(case.role, case.frame), case.queries, read_reach(case.reach))
    allowed = allowed_edges(*case.layout, case.queries)
    everything = torch.full_like(case.reach, ALL)
    causal = allowed_edges(case.role, case.frame, everything, case.queries)
    expected = allowed.sum().item() / max(1, causal.sum().item())
    assert density(parts, prepare(case.role, case.frame), case.queries) == pytest.approx(expected)


def test_a_frame_local_prompt_is_a_handful_of_calls() -> None:
    """System and first frame, all other frames at once, text: whatever the number of frames."""
    for frames in (8, 200):
        role, frame = prompt(frames, 36, 40, 84)
        (part,) = split(
            prepare(role, frame), role.shape[1], read_reach(table(video_video=0, last_last=NONE))
        )
        assert len(part.blocks) == 4
        assert sorted(block.count for block in part.blocks) == [1, 1, 1, frames - 1]
