"""An export in vLLM answers as the masked dense model does in transformers."""

import pytest

from tests.vllm.engine import GREEDY, STEPS, Engine
from tests.vllm.folders import both
from tests.vllm.requests import REQUESTS, Answer, Reference, Request

TOLERANCE = 1e-4

WITH_VIDEO = [request for request in REQUESTS if request.clips]


@pytest.fixture(scope="module", params=["qwen2_5_vl"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    model, processor, plan, folder = both(request.param, tmp_path_factory.mktemp(request.param))
    engine = Engine(folder, processor)
    engine.reference = Reference(model, processor, plan)  # type: ignore[attr-defined]
    return engine


@pytest.fixture(scope="module")
def expected(served: Engine) -> dict[str, Answer]:
    return {request.name: served.reference.pruned(request) for request in REQUESTS}


def check(requests: list[Request], answers: list[Answer], expected: dict[str, Answer]) -> None:
    for request, answer in zip(requests, answers, strict=True):
        assert answer.tokens == expected[request.name].tokens, request.name
        assert answer.distance(expected[request.name]) < TOLERANCE, request.name


@pytest.mark.parametrize("chunk", [2048, 96, 33])
def test_unequal_requests_at_once(served: Engine, expected: dict[str, Answer], chunk: int) -> None:
    free, state = served.free, served.state
    computed, dense = state.computed, state.dense
    with served.chunks(chunk):
        answers = served.answers(REQUESTS)
    check(list(REQUESTS), answers, expected)
    assert served.free == free
    prompts = [request.inputs(served.processor)["input_ids"].shape[1] for request in REQUESTS]
    tokens = sum(prompts) + len(REQUESTS) * (STEPS - 1)
    assert state.dense - dense == tokens * served.state.plan.plan.num_layers
    assert state.computed - computed < 0.8 * (state.dense - dense)


def test_the_dense_model_answers_otherwise(served: Engine, expected: dict[str, Answer]) -> None:
    for request in REQUESTS:
        dense = served.reference.dense(request)
        if request.clips:
            assert dense.distance(expected[request.name]) > 100 * TOLERANCE, request.name
        else:
            assert dense.distance(expected[request.name]) < TOLERANCE, request.name


def test_preempted_requests_are_resumed(served: Engine, expected: dict[str, Answer]) -> None:
    free = served.free
    seen: list[str] = []
    preempt = served.scheduler._preempt_request

    def noting(request, *args, **kwargs):  # type: ignore[no-untyped-def]
        seen.append(request.request_id)
        return preempt(request, *args, **kwargs)

    served.scheduler._preempt_request = noting
    try:
        with served.blocks(60), served.chunks(96):
            answers = served.answers(REQUESTS)
    finally:
        del served.scheduler._preempt_request
    check(list(REQUESTS), answers, expected)
    assert served.free == free
    assert seen, "no request was preempted: leave fewer blocks"


def test_aborted_and_bad_requests_leave_the_others_unharmed(
    served: Engine, expected: dict[str, Answer]
) -> None:
    free = served.free
    core, llm = served.core, served.llm
    engine = llm.llm_engine
    prompts = [request.for_vllm(served.processor) for request in WITH_VIDEO]
    for index, prompt in enumerate(prompts):
        engine.add_request(f"kept {index}", prompt, GREEDY)
        engine.add_request(f"aborted {index}", prompt, GREEDY)
    too_long = {"prompt": "word " * 3000}
    with pytest.raises(Exception, match="maximum context length"):
        engine.add_request("too long", too_long, GREEDY)
    unknown = {**prompts[0], "prompt": "<|vision_start|><|video_pad|><|vision_end|>What is it?"}
    engine.add_request("unknown", unknown, GREEDY)
    found: dict[str, Answer] = {}
    steps = 0
    with served.chunks(64):
        while engine.has_unfinished_requests():
            for output in engine.step():
                if output.finished and output.request_id.startswith(("kept", "unknown")):
                    (said,) = output.outputs
                    logprobs = [
                        step[token].logprob
                        for step, token in zip(said.logprobs, said.token_ids, strict=True)
                    ]
                    found[output.request_id] = Answer(list(said.token_ids), logprobs)
            steps += 1
            if steps in (3, 9):
                engine.abort_request(
                    [
                        f"aborted {index}"
                        for index in range(len(prompts))
                        if (index < 3) == (steps == 3)
                    ]
                )
    answers = [found[f"kept {index}"] for index in range(len(prompts))]
    check(WITH_VIDEO, answers, expected)
    assert len(found["unknown"].tokens) == STEPS
    assert served.free == free
    assert not core.scheduler.requests
    for manager in core.scheduler.kv_cache_manager.coordinator.single_type_managers:
        assert not manager._storages and not manager.req_to_blocks


def test_small_kv_becomes_concurrency(served: Engine) -> None:
    """At equal KV bytes at least twice as many requests run at once as dense ones."""
    long = REQUESTS[1]
    plan = served.state.plan
    most = {}
    for name in ("pruned", "dense"):
        layout = plan.layout
        if name == "dense":
            plan.layout = lambda ids, features, size: plan._dense(size)  # type: ignore[method-assign]
        try:
            with served.blocks(200), served.steps() as seen:
                served.answers([long] * 8)
        finally:
            plan.layout = layout  # type: ignore[method-assign]
            vars(plan).pop("layout", None)
        most[name] = max(running for running, _ in seen)
    assert most["pruned"] >= 2 * most["dense"] >= 2, most
