"""Prompts on vLLM's own kernel: any plan's edges, and none besides."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prune.kernels import Layout, allowed_edges, prepare, read_reach
from prune.kernels.segment_attention.reference import reference_attention
from prune.layout.reach import ALL, NONE
from prune.layout.segments import NUM_ROLES, Role
from prune.serve.vllm.prefill import Call, Scratch, Shape
from prune.serve.vllm.sequences import sequences_of

HEADS, KV_HEADS, WIDTH = 4, 2, 32


def prompt(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Roles and frames `[1, S]`: text, frames with or without text between them, text."""
    role, frame = [int(Role.SYSTEM)] * int(rng.integers(0, 6)), []
    frame = [-1] * len(role)
    size, between = int(rng.integers(1, 40)), int(rng.integers(0, 3))
    for index in range(int(rng.integers(0, 6))):
        role += [int(Role.TIMESTAMP)] * between + [int(Role.VIDEO)] * size
        frame += [-1] * between + [index] * size
    for of in (Role.BRIDGE, Role.QUESTION, Role.OPTIONS, Role.TAIL):
        count = int(rng.integers(0, 5))
        role, frame = role + [int(of)] * count, frame + [-1] * count
    role, frame = [*role, int(Role.LAST)], [*frame, -1]
    return torch.tensor([role], dtype=torch.int8), torch.tensor([frame], dtype=torch.int32)


def table(rng: np.random.Generator) -> torch.Tensor:
    """A reach table `[1, R, R]` of edges that are there, are not, or in part."""
    values = rng.choice([NONE, 0, 1, ALL], (1, NUM_ROLES, NUM_ROLES), p=[0.25, 0.15, 0.1, 0.5])
    return torch.from_numpy(values.astype(np.int32))


def drawn(seed: int, layouts: list[Layout], rows: list[int]) -> list[tuple[Any, ...]]:
    generator = torch.Generator().manual_seed(seed)
    found = []
    for layout, count in zip(layouts, rows, strict=True):
        keys = layout.shape[1]
        sizes = [(count, HEADS, WIDTH), (keys, KV_HEADS, WIDTH), (keys, KV_HEADS, WIDTH)]
        found.append(tuple(torch.randn(size, generator=generator) for size in sizes))
    return found


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_prompts_in_one_call_read_what_the_plan_leaves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reach = read_reach(table(rng))
    layouts = [prepare(*prompt(rng)) for _ in range(int(rng.integers(1, 4)))]
    # The last rows of a prompt alone are a chunk of it, behind keys of earlier ones.
    rows = [int(rng.integers(1, layout.shape[1] + 1)) for layout in layouts]
    inputs = drawn(seed, layouts, rows)
    query, key, value = (torch.cat(parts) for parts in zip(*inputs, strict=True))
    first = np.cumsum([0, *rows])
    begin = np.cumsum([0, *(layout.shape[1] for layout in layouts)])
    found = []
    for index, layout in enumerate(layouts):
        one = sequences_of(layout, rows[index], reach)
        assert one is not None
        places = np.arange(first[index], first[index + 1])
        found.append((one, places, np.arange(begin[index], begin[index + 1])))
    output, scratch = torch.zeros_like(query), Scratch()
    # What an earlier call has left there is not read.
    scratch.take(200, Shape(HEADS, KV_HEADS, WIDTH, torch.float32)).fill_(1e4)
    shape = Shape(HEADS, KV_HEADS, WIDTH, torch.float32)
    Call(found, shape).run(
        query, key, value, output, scratch, scale=0.3, alibi_slopes=None, sliding_window=-1,
        softcap=0, s_aux=None,
    )  # fmt: skip
    for index, (layout, (q, k, v)) in enumerate(zip(layouts, inputs, strict=True)):
        q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
        expected, _ = reference_attention(q, k, v, *layout.tensors, reach.tensor, 0.3)
        got = output[first[index] : first[index + 1]].transpose(0, 1)[None]
        torch.testing.assert_close(got, expected, atol=2e-5, rtol=0)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_every_edge_is_in_one_sequence(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reach, layout = read_reach(table(rng)), prepare(*prompt(rng))
    rows = int(rng.integers(1, layout.shape[1] + 1))
    one = sequences_of(layout, rows, reach)
    assert one is not None
    read = np.zeros((rows, layout.shape[1]), int)
    at = key = 0
    for count, keys, causal in zip(one.rows_of, one.keys_of, one.causal, strict=True):
        for index in range(count):
            stop = key + keys - (count - 1 - index if causal else 0)
            read[one.rows[at + index], one.keys[key:stop]] += 1
        at, key = at + count, key + keys
    assert at == len(one.rows) and key == len(one.keys)
    expected = allowed_edges(*layout.tensors, reach.tensor, rows)[0, 0]
    assert (read == expected.int().numpy()).all()


def test_plans_by_kv_head_are_no_sequences() -> None:
    layout = prepare(*prompt(np.random.default_rng(0)))
    heads = torch.full((2, NUM_ROLES, NUM_ROLES), ALL, dtype=torch.int32)
    heads[1, Role.LAST, Role.VIDEO] = NONE
    assert sequences_of(layout, layout.shape[1], read_reach(heads)) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_room_for_keys_is_used_again(dtype: torch.dtype) -> None:
    scratch = Scratch()
    first = scratch.take(8, Shape(HEADS, KV_HEADS, WIDTH, dtype))
    assert not first.any()
    again = scratch.take(3, Shape(HEADS, KV_HEADS, WIDTH, dtype))
    assert again.data_ptr() == first.data_ptr() and again.dtype == dtype
    more = scratch.take(9, Shape(HEADS, KV_HEADS, WIDTH, dtype))
    assert len(more) == 9 and not more.any()
