"""Which dead states are skipped is a matter of time alone: outputs and caches are the same."""

from typing import Any

import pytest
import torch
from torch import Tensor

import prune
from prune.layout.segments import segment
from prune.runtime import session
from prune.runtime.prefill import query_side
from prune.runtime.schedule import schedule
from prune.runtime.worth import EVERY, Worth, worth_on
from tests.families.specimen import Prompt, Tiny
from tests.runtime.conversation import (
    ONE,
    UNEQUAL,
    assert_same,
    generate,
    kv_memory,
    narrow_plan,
    random_plan,
)

NEVER = Worth(1e9, 1e9)
SOME = [NEVER, Worth(0, 1e9), Worth(1e9, 0), Worth(60, 9)]


@pytest.fixture(params=SOME, ids=["never", "drop", "narrow", "between"])
def worth(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Worth:
    found: Worth = request.param
    monkeypatch.setattr(session, "worth_on", lambda *model: found)
    return found


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"prefill_chunk_size": 7}, {"num_beams": 2}], ids=str)
@pytest.mark.parametrize("prompts", [[ONE], UNEQUAL], ids=["one", "padded"])
@pytest.mark.parametrize("seed", range(3))
def test_answers_and_caches_are_those_of_skipping_all(
    random_tiny: Tiny, worth: Worth, prompts: list[Prompt], seed: int, options: dict[str, Any]
) -> None:
    model, inputs = random_tiny.model, random_tiny.inputs(*prompts)
    plan = random_plan(model, seed) if seed else narrow_plan(model)
    some = generate(random_tiny, plan, inputs, "auto", **options)
    every = generate(random_tiny, plan, inputs, "all", **options)
    assert_same(some, every)
    assert kv_memory(some.past_key_values) == kv_memory(every.past_key_values)
    for one, two in zip(some.past_key_values.layers, every.past_key_values.layers, strict=True):
        assert one.keys.shape == two.keys.shape


@torch.no_grad()
def test_logits_that_do_not_count_are_not_a_number_either_way(
    random_tiny: Tiny, worth: Worth
) -> None:
    inputs, plan = random_tiny.inputs(*UNEQUAL), narrow_plan(random_tiny.model)
    found: list[Tensor] = []
    for skip in ("auto", "all"):
        with prune.apply(random_tiny.model, plan, processor=random_tiny.processor, skip=skip):  # type: ignore[arg-type]
            found.append(random_tiny.model(**inputs).logits)
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5, equal_nan=True)


@torch.no_grad()
def test_counts_say_what_ran(random_tiny: Tiny, worth: Worth) -> None:
    inputs, plan = random_tiny.inputs(ONE), narrow_plan(random_tiny.model)
    counted: dict[str, int] = {}
    for skip in ("auto", "all"):
        with prune.apply(random_tiny.model, plan, processor=random_tiny.processor, skip=skip):  # type: ignore[arg-type]
            random_tiny.model(**inputs)
            ran = prune.launches(random_tiny.model)
        counted[skip] = ran.computed
        assert ran.worth == (worth if skip == "auto" else None)
    assert counted["all"] <= counted["auto"] <= ran.states
    assert (counted["auto"] == ran.states) == (worth == NEVER)


def test_more_rows_make_it_worth_it(random_tiny: Tiny) -> None:
    plan = narrow_plan(random_tiny.model)
    one = segment(random_tiny.processor, random_tiny.inputs(ONE))
    limit = Worth(1e9, 20)

    def share(rows: int) -> float:
        found = schedule(plan.reach, one.repeated(rows), "single_turn", worth=limit)
        return found.states / rows

    least = schedule(plan.reach, one, "single_turn", worth=EVERY).states
    assert share(1) > share(8) >= least


def test_a_device_is_measured_once(random_tiny: Tiny) -> None:
    modules = query_side(random_tiny.model.model.language_model.layers[0])
    hidden = random_tiny.model.config.text_config.hidden_size
    first = worth_on(modules, hidden, torch.float32)
    assert 0 < first.drop and 0 < first.narrow
    assert worth_on(modules, hidden, torch.float32) is first
