"""A step's blocks: one that was given back is never read, and the others where they are."""

import numpy as np
import pytest
import torch
from torch import Tensor

from prune.layout.segments import Role, Segments
from prune.plan.plan import Plan
from prune.serve.vllm.decode import PADDING, Decode, Reads
from prune.serve.vllm.layout import RequestLayout
from prune.serve.vllm.rules import Rules
from prune.serve.vllm.storage import Storage
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


def tables(request: RequestLayout, given_back: bool) -> tuple[Storage, Tensor, Tables]:
    storage = request.storage(request.rules.group_of(0), BLOCK)
    assert len(storage.passing) == 3
    table = np.arange(1, storage.blocks(len(PROMPT) + 1) + 1, dtype=np.int32)
    if given_back:
        table[storage.passing] = 0
    given = torch.from_numpy(table)[None]
    return storage, given, Tables([storage], given, BLOCK)


def reads(storage: Storage, table: Tensor, tokens: int) -> Reads:
    decode = Decode(2, table.shape[1], BLOCK, table.device)
    decode.hold([storage])
    return decode.write(table, torch.tensor([tokens], dtype=torch.int32))


def test_slots_are_those_of_the_blocks() -> None:
    positions = np.arange(len(PROMPT) + 1)
    _, _, found = tables(layout(), given_back=False)
    slots = found.slots(0, positions)
    assert len(set(slots.tolist())) == len(positions) and slots.min() >= BLOCK


def test_a_block_that_was_given_back_is_not_read() -> None:
    storage, table, found = tables(layout(), given_back=True)
    one = reads(storage, table, len(PROMPT) + 1)
    # Without video, question and last, which answers do not read here.
    assert one.tokens.tolist() == [len(PROMPT) - 12 + 1]
    assert one.blocks[0, : -(-int(one.tokens) // BLOCK)].all()
    assert one.slots.tolist() == found.slots(0, np.array([len(PROMPT)])).tolist()
    text = np.array([0, 1, 2, 13, len(PROMPT)])
    assert (found.slots(0, text) >= BLOCK).all()
    with pytest.raises(RuntimeError, match="given back"):
        found.slots(0, np.array([0, 5]))
    table[0, storage.line(1)] = 0
    with pytest.raises(RuntimeError, match="given back"):
        reads(storage, table, len(PROMPT) + 1)


def test_a_token_that_is_not_stored_has_no_slot() -> None:
    request = layout()
    storage = request.storage(request.rules.group_of(31), BLOCK)
    text = len(PROMPT) - 10
    assert storage.blocks(len(PROMPT)) <= -(-text // BLOCK) + 1
    found = Tables([storage], torch.ones(1, 3, dtype=torch.int32), BLOCK)
    with pytest.raises(RuntimeError, match="not stored"):
        found.slots(0, np.array([5]))


def test_what_is_read_stays_at_its_address() -> None:
    """As a captured graph needs it: other tokens, blocks and requests, and rows of none."""
    storages = [
        layout().storage(group, BLOCK) for group in (layout().rules.groups[0], (31,), (20,))
    ]
    width = max(storage.blocks(len(PROMPT) + 9) for storage in storages)
    decode, places = Decode(4, width, BLOCK, torch.device("cpu")), set()
    for step in range(9):
        running = storages[: 2 + step // 5]
        decode.hold(running)
        table = torch.randperm(4 * width).to(torch.int32).view(4, width) + 1
        lengths = torch.zeros(4, dtype=torch.int32)
        lengths[: len(running)] = len(PROMPT) + 1 + step
        found = decode.write(table, lengths)
        places.add(tuple(x.data_ptr() for x in (found.blocks, found.tokens, found.slots)))
        assert (found.slots[len(running) :] == PADDING).all()
        for row, storage in enumerate(running):
            count, tables = int(found.tokens[row]), Tables(running, table, BLOCK)
            kept = storage.line(width)[: -(-count // BLOCK)]
            assert found.blocks[row, : len(kept)].tolist() == table[row, kept].tolist()
            last = tables.slots(row, np.array([len(PROMPT) + step]))
            assert found.slots[row] == int(last[0])
            assert count == storage.kept(len(PROMPT) + 1 + step)
    assert len(places) == 1
