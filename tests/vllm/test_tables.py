"""A step's blocks: one that was given back is never read."""

import numpy as np
import pytest
import torch

from prune.layout.segments import Role, Segments
from prune.plan.plan import Plan
from prune.serve.vllm.layout import RequestLayout
from prune.serve.vllm.rules import Rules
from prune.serve.vllm.step import Part, Step
from prune.serve.vllm.tables import Tables

BLOCK = 4
PROMPT = [Role.SYSTEM] * 3 + [Role.VIDEO] * 10 + [Role.BRIDGE, Role.QUESTION, Role.TAIL, Role.LAST]


def layout() -> RequestLayout:
    segments = Segments.of_runs(
        [(int(role), 0 if role == Role.VIDEO else -1, 1) for role in PROMPT]
    )
    rules = Rules(Plan.preset("llava-next-7b").reach, 0)
    role, frame = segments.role[0].numpy(), segments.frame[0].numpy()
    return RequestLayout(role, frame, rules, rules.needs(segments))


def tables(request: RequestLayout, given_back: bool) -> Tables:
    layers = request.rules.group_of(0)
    storage = request.storage(layers, BLOCK)
    assert len(storage.passing) == 3
    table = np.arange(1, storage.blocks(len(PROMPT) + 1) + 1)
    if given_back:
        table[storage.passing] = 0
    step = Step([Part(request, 0, len(PROMPT), len(PROMPT) + 1)])
    return Tables(step, layers, torch.from_numpy(table)[None], BLOCK)


def test_slots_are_those_of_the_blocks() -> None:
    positions = np.arange(len(PROMPT) + 1)
    slots = tables(layout(), given_back=False).slots(0, positions)
    assert len(set(slots.tolist())) == len(positions) and slots.min() >= BLOCK


def test_a_block_that_was_given_back_is_not_read() -> None:
    found = tables(layout(), given_back=True)
    (blocks,), (tokens,) = found.kept(np.array([0]))
    # Without video, question and last, which answers do not read here.
    assert (blocks > 0).all() and tokens == len(PROMPT) - 12 + 1
    assert found.last_slots() == found.slots(0, np.array([len(PROMPT)]))
    text = np.array([0, 1, 2, 13, len(PROMPT)])
    assert (found.slots(0, text) >= BLOCK).all()
    with pytest.raises(RuntimeError, match="given back"):
        found.slots(0, np.array([0, 5]))


def test_a_token_that_is_not_stored_has_no_slot() -> None:
    request = layout()
    layers = request.rules.group_of(31)
    text = len(PROMPT) - 10
    assert request.storage(layers, BLOCK).blocks(len(PROMPT)) <= -(-text // BLOCK) + 1
    step = Step([Part(request, 0, 0, len(PROMPT))])
    found = Tables(step, layers, torch.ones(1, 3, dtype=torch.int32), BLOCK)
    with pytest.raises(RuntimeError, match="not stored"):
        found.slots(0, np.array([5]))
