"""An export in vLLM answers as the masked dense model does in transformers."""

from dataclasses import replace
from itertools import count
from math import isnan
from pathlib import Path

import pytest
import torch

from prune.serve.vllm.rules import _size, _tables
from tests.vllm.engine import GREEDY, Engine, answer_of, greedy
from tests.vllm.folders import at, both
from tests.vllm.requests import SLOW, STEPS, UNEQUAL, Answer, Reference
from tests.vllm.served import TOLERANCE, Served

STEP = 2**-6
"""Between neighbours of bfloat16 from 2 to 4, as logits are: no log-probability is closer."""


@pytest.mark.parametrize("chunk", [2048, 96, 33])
def test_unequal_requests_at_once(served: Served, chunk: int) -> None:
    engine, state = served.engine, served.engine.state
    free, computed, dense, keys = engine.free, state.computed, state.dense, state.keys_only
    without = state.without_queries
    counted = replace(engine.scheduler._counts)
    with engine.chunks(chunk), engine.steps() as seen:
        answers = engine.answers(UNEQUAL)
    served.check(UNEQUAL, answers)
    assert engine.free == free
    # In small chunks the first answers are complete before the last prompts begin.
    assert max(running for running, _ in seen) == len(UNEQUAL) or chunk < 2048
    counts = engine.scheduler._counts
    assert counts.states_computed - counted.states_computed == state.computed - computed
    assert counts.states_keys_only - counted.states_keys_only == state.keys_only - keys > 0
    # Wherever keys are enough, no query is computed either.
    assert state.without_queries - without == state.keys_only - keys
    assert counts.states_dense - counted.states_dense == state.dense - dense
    prompts = [one.inputs(engine.processor)["input_ids"].shape[1] for one in UNEQUAL]
    tokens = sum(prompts) + len(UNEQUAL) * (STEPS - 1)
    assert state.dense - dense == tokens * state.plan.plan.num_layers
    assert state.computed - computed < 0.8 * (state.dense - dense)


def test_more_requests_than_run_at_once(served: Served) -> None:
    with served.engine.at_once(8), served.engine.chunks(160), served.engine.steps() as seen:
        answers = served.engine.answers(UNEQUAL)
    served.check(UNEQUAL, answers)
    assert max(running for running, _ in seen) == 8 < len(UNEQUAL)


def test_the_dense_model_answers_otherwise(served: Served) -> None:
    for request in UNEQUAL:
        distance = served.reference.dense(request).distance(served.expected(request))
        if request.clips:
            assert distance > 100 * TOLERANCE, request.name
        else:
            assert distance < TOLERANCE, request.name


def test_text_behind_long_clips_is_where_the_plan_was_measured(served: Served) -> None:
    """Qwen2.5-VL's plan here is of vLLM's positions; transformers' are others by far."""
    reference = served.reference
    stock = Reference(reference.model, reference.processor, at(reference.plan, None))
    with served.engine.chunks(96):
        answers = served.engine.answers(SLOW)
    for request, answer in zip(SLOW, answers, strict=True):
        expected, elsewhere = reference.pruned(request), stock.pruned(request)
        assert answer.tokens == expected.tokens, request.name
        assert answer.distance(expected) < TOLERANCE, request.name
        apart = answer.distance(elsewhere)
        assert (apart > 1e-2) == (reference.plan.model.positions == "vllm"), request.name


@pytest.mark.parametrize("chunk", [2048, 96])
def test_preempted_requests_are_resumed(served: Served, chunk: int) -> None:
    engine, llm = served.engine, served.engine.llm.llm_engine
    free, found, taken = engine.free, {}, []
    with engine.chunks(chunk), engine.preempted() as preempted:
        for request in UNEQUAL:
            llm.add_request(request.name, request.for_vllm(engine.processor), GREEDY)
        for step in count():
            if not llm.has_unfinished_requests():
                break
            if step >= (4 if chunk == 2048 else 20) and len(preempted) < 2:
                # No block is left for prompts or answers to grow into.
                taken += engine.pool.get_new_blocks(engine.free)
            elif taken:
                engine.pool.free_blocks(taken)
                taken = []
            found |= {one.request_id: answer_of(one) for one in llm.step() if one.finished}
    served.check(UNEQUAL, [found[request.name] for request in UNEQUAL])
    assert len(preempted) >= 2
    assert engine.free == free


def test_aborted_and_bad_requests_leave_the_others_unharmed(served: Served) -> None:
    engine, llm = served.engine, served.engine.llm.llm_engine
    free = engine.free
    prompts = [request.for_vllm(engine.processor) for request in UNEQUAL]
    for index, prompt in enumerate(prompts):
        llm.add_request(f"kept {index}", prompt, GREEDY)
        llm.add_request(f"aborted {index}", prompt, GREEDY)
    with pytest.raises(Exception, match="maximum context length"):
        llm.add_request("too long", {"prompt": "word " * 3000}, GREEDY)
    unknown = {**prompts[0], "prompt": "<|vision_start|><|video_pad|><|vision_end|>What is it?"}
    llm.add_request("in no chat format", unknown, GREEDY)
    found: dict[str, Answer] = {}
    steps = 0
    with engine.chunks(96):
        while llm.has_unfinished_requests():
            for output in llm.step():
                if output.finished:
                    found[output.request_id] = answer_of(output)
            steps += 1
            if steps % 6 == 3:
                # Some of them run, some wait.
                gone = [index for index in range(len(prompts)) if index % 5 == steps // 6 % 5]
                llm.abort_request([f"aborted {index}" for index in gone])
    served.check(UNEQUAL, [found[f"kept {index}"] for index in range(len(prompts))])
    assert sum(f"aborted {index}" in found for index in range(len(prompts))) < len(prompts) / 2
    assert len(found["in no chat format"].tokens) == STEPS
    assert engine.free == free
    assert not engine.scheduler.requests
    for manager in engine.managers:
        assert not manager._storages and not manager.req_to_blocks


def test_small_kv_becomes_concurrency(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """At equal KV bytes at least twice as many requests run at once as dense ones."""
    engine, plan = served.engine, served.engine.state.plan
    long = [served.request("long clip")] * 8
    blocks = 0

    def most() -> int:
        with engine.blocks(blocks), engine.steps() as seen:
            engine.answers(long)
        return max(running for running, _ in seen)

    stored = plan.layout
    # Dense requests hold in the same groups what a dense model's layers hold.
    monkeypatch.setattr(plan, "layout", lambda ids, features, size: plan.dense(size))
    blocks = 2 * served.blocks_of("long clip") + 8
    dense = most()
    monkeypatch.setattr(plan, "layout", stored)
    assert most() >= 2 * dense == 4


def test_groups_are_those_of_the_rules(served: Served) -> None:
    rules = served.engine.state.plan.rules
    groups = served.engine.scheduler.kv_cache_manager.kv_cache_config.kv_cache_groups
    assert {group.kv_cache_spec.layers for group in groups} == set(rules.groups)
    assert len(groups) == _tables(rules.groups)
    assert {len(group.layer_names) for group in groups} <= {_size(rules.groups)}


def test_logits_that_were_not_computed_are_nan(served: Served) -> None:
    """And those of other requests in the same batch are what they were."""
    engine = served.engine
    asking = greedy(STEPS)
    asking.prompt_logprobs = 0
    one, other = served.request("options"), served.request("text")
    prompts = [request.for_vllm(engine.processor) for request in (one, other, one)]
    outputs = engine.llm.generate(prompts, [asking, asking, greedy(STEPS)], use_tqdm=False)
    served.check([one, other, one], [answer_of(output) for output in outputs])
    for output, missing in zip(outputs[:2], (True, False), strict=True):
        shown = [next(iter(step.values())).logprob for step in output.prompt_logprobs[1:]]
        # Of a pruned prompt the last layer hands on the last token alone.
        assert set(map(isnan, shown)) == {missing}


def test_bfloat16(tmp_path: Path) -> None:
    """Most models' own type: as the masked model with the same weights, up to rounding.

    It computes in float32: in bfloat16 transformers itself is off by more than vLLM is.
    """
    model, processor, plan, folder = both("qwen2_5_vl", tmp_path, "vllm")
    rounded = model.to(torch.bfloat16).float()
    reference = Reference(rounded, processor, plan)
    engine = Engine(folder, processor, dtype="bfloat16")
    try:
        with engine.chunks(96):
            answers = engine.answers(UNEQUAL)
    finally:
        engine.close()
    distances = []
    for request, answer in zip(UNEQUAL, answers, strict=True):
        said = answer.tokens
        expected = reference.pruned(request, STEPS, said)
        distances += [abs(a - b) for a, b in zip(answer.logprobs, expected.logprobs, strict=True)]
        if request.clips:
            dense = reference.dense(request, STEPS, said)
            assert dense.distance(expected) > 3 * STEP, request.name
    assert max(distances) < 2 * STEP
    assert sum(distances) / len(distances) < 1e-2
