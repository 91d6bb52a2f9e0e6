"""An export in vLLM answers as the masked dense model does in transformers."""

from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest

from prune.serve.vllm.rules import _size, _tables
from tests.vllm.engine import GREEDY, Engine, answer_of, greedy
from tests.vllm.folders import at, both
from tests.vllm.requests import MORE, REQUESTS, SLOW, STEPS, Answer, Reference
from tests.vllm.served import TOLERANCE, Served

ROUNDING = 2.5e-2
"""Of log-probabilities in bfloat16; those of requests without a video, dense in both, differ by
1e-2 as well."""

WITH_VIDEO = [request for request in REQUESTS if request.clips]


@pytest.mark.parametrize("chunk", [2048, 96, 33])
def test_unequal_requests_at_once(served: Served, chunk: int) -> None:
    engine, state = served.engine, served.engine.state
    free, computed, dense, keys = engine.free, state.computed, state.dense, state.keys_only
    counted = replace(engine.scheduler._counts)
    with engine.chunks(chunk):
        answers = engine.answers(REQUESTS)
    served.check(list(REQUESTS), answers)
    assert engine.free == free
    counts = engine.scheduler._counts
    assert counts.states_computed - counted.states_computed == state.computed - computed
    assert counts.states_keys_only - counted.states_keys_only == state.keys_only - keys > 0
    assert counts.states_dense - counted.states_dense == state.dense - dense
    prompts = [one.inputs(engine.processor)["input_ids"].shape[1] for one in REQUESTS]
    tokens = sum(prompts) + len(REQUESTS) * (STEPS - 1)
    assert state.dense - dense == tokens * state.plan.plan.num_layers
    assert state.computed - computed < 0.8 * (state.dense - dense)


def test_more_requests_than_run_at_once(served: Served) -> None:
    requests = [*REQUESTS, *MORE]
    with served.engine.chunks(160), served.engine.steps() as seen:
        answers = served.engine.answers(requests)
    served.check(list(REQUESTS), answers[: len(REQUESTS)])
    for request, answer in zip(MORE, answers[len(REQUESTS) :], strict=True):
        expected = served.reference.pruned(request)
        assert answer.tokens == expected.tokens, request.name
        assert answer.distance(expected) < TOLERANCE, request.name
    assert max(running for running, _ in seen) == 8 < len(requests)


def test_the_dense_model_answers_otherwise(served: Served) -> None:
    for request in REQUESTS:
        distance = served.reference.dense(request).distance(served.expected[request.name])
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


def test_preempted_requests_are_resumed(served: Served) -> None:
    engine = served.engine
    free = engine.free
    # Room for the largest request, and for little beside it; answers longer than a block fill it.
    room, steps = served.blocks_of("long clip") + 16, 44
    with engine.blocks(room), engine.chunks(96), engine.preempted() as seen:
        answers = engine.answers(WITH_VIDEO, greedy(steps))
    for request, answer in zip(WITH_VIDEO, answers, strict=True):
        expected = served.reference.pruned(request, steps)
        assert answer.tokens == expected.tokens, request.name
        assert answer.distance(expected) < TOLERANCE, request.name
    assert engine.free == free
    assert seen, "no request was preempted: leave fewer blocks"


def test_aborted_and_bad_requests_leave_the_others_unharmed(served: Served) -> None:
    engine, llm = served.engine, served.engine.llm.llm_engine
    free = engine.free
    prompts = [request.for_vllm(engine.processor) for request in WITH_VIDEO]
    for index, prompt in enumerate(prompts):
        llm.add_request(f"kept {index}", prompt, GREEDY)
        llm.add_request(f"aborted {index}", prompt, GREEDY)
    with pytest.raises(Exception, match="maximum context length"):
        llm.add_request("too long", {"prompt": "word " * 3000}, GREEDY)
    unknown = {**prompts[0], "prompt": "<|vision_start|><|video_pad|><|vision_end|>What is it?"}
    llm.add_request("in no chat format", unknown, GREEDY)
    found: dict[str, Answer] = {}
    steps = 0
    with engine.chunks(64):
        while llm.has_unfinished_requests():
            for output in llm.step():
                if output.finished:
                    found[output.request_id] = answer_of(output)
            steps += 1
            if steps in (3, 9):
                gone = range(3) if steps == 3 else range(3, len(prompts))
                llm.abort_request([f"aborted {index}" for index in gone])
    served.check(WITH_VIDEO, [found[f"kept {index}"] for index in range(len(prompts))])
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
    monkeypatch.setattr(plan, "layout", lambda ids, features, size: plan._dense(size))
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
    """Most models' own type: the first token is the masked model's in float32, up to rounding."""
    model, processor, plan, folder = both("qwen2_5_vl", tmp_path)
    reference = Reference(model, processor, plan)
    engine = Engine(folder, processor, dtype="bfloat16")
    try:
        with engine.chunks(96):
            answers = engine.answers(REQUESTS)
    finally:
        engine.close()
    for request, answer in zip(REQUESTS, answers, strict=True):
        expected = reference.first(request)
        (token, *_), (said, *_) = answer.tokens, answer.logprobs
        assert abs(said - expected[token]) < ROUNDING, request.name
        assert expected.max() - expected[token] < ROUNDING, request.name
        if request.clips:
            dense = reference.dense(request, 1)
            assert abs(dense.logprobs[0] - expected[dense.tokens[0]]) > 3 * ROUNDING, request.name
