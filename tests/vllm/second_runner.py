"""Answers of vLLM's second model runner, beside the masked dense model's."""

from itertools import count
from math import isnan
from pathlib import Path
from typing import Any

import torch
from vllm.config.compilation import CUDAGraphMode
from vllm.v1.worker.cpu.model_runner import CPUModelRunner
from vllm.v1.worker.gpu.input_batch import InputBatch

from prune.serve.vllm.model_state import PrunedModelState
from prune.serve.vllm.views import PrunedMetadata
from tests.vllm.engine import GREEDY, answer_of, greedy
from tests.vllm.requests import REQUESTS, STEPS, TURNS
from tests.vllm.served import Served, serve


def runner_of(served: Served) -> Any:
    """vLLM's runner."""
    return served.engine.core.model_executor.driver_worker.worker.model_runner


def at_once(served: Served) -> None:
    served.check(REQUESTS, served.engine.answers(REQUESTS))
    state = served.engine.state
    assert 0 < state.without_queries == state.keys_only
    assert state.computed < 0.8 * state.dense


def graphs_read_what_steps_write(served: Served) -> None:
    """What a graph of two new tokens is captured with is where a step's data comes to be."""
    runner, two = runner_of(served), 2
    batch = InputBatch.make_dummy(two, two, runner.input_buffers)
    tables = runner.block_tables.get_dummy_block_tables(two)
    seen: list[list[tuple[int, ...]]] = []
    prepare = runner.model_state.prepare_attn

    def watching(*args: Any, **kwargs: Any) -> Any:
        found = prepare(*args, **kwargs)
        if args[0].num_tokens == args[0].num_reqs == two:
            seen.append([addresses(one) for one in found.values()])
        return found

    with torch.inference_mode():
        watching(
            batch,
            CUDAGraphMode.FULL,
            # Block 0, which dummy batches have, is one that a test must not read.
            tuple(torch.ones_like(table) for table in tables),
            torch.zeros(len(tables), two, dtype=torch.int64),
            runner.attn_groups,
            runner.kv_cache_config,
            for_capture=True,
        )
    runner.model_state.prepare_attn = watching
    asked = served.request("long clip"), served.request("text")
    served.check(asked, served.engine.answers(asked))
    del runner.model_state.prepare_attn
    assert len(seen) == STEPS and all(one == seen[0] for one in seen)


def addresses(metadata: PrunedMetadata) -> tuple[int, ...]:
    """Of the tensors that the attention of a step of new tokens reads."""
    stock = metadata.stock
    read = metadata.slots, stock.block_table, stock.seq_lens, stock.query_start_loc
    return tuple(tensor.data_ptr() for tensor in read)


def follow_up_questions(served: Served) -> None:
    with served.engine.sharing() as found:
        for turn in TURNS[:2]:
            served.check([turn], served.engine.answers([turn]))
    assert found[0] == 0 < found[1]


def preempted_and_aborted(served: Served) -> None:
    engine, llm = served.engine, served.engine.llm.llm_engine
    found, taken, some = {}, [], REQUESTS[1:6]
    with engine.chunks(96), engine.preempted() as preempted:
        for request in some:
            prompt = request.for_vllm(engine.processor)
            llm.add_request(request.name, prompt, GREEDY)
            llm.add_request(f"aborted {request.name}", prompt, GREEDY)
        for step in count():
            if not llm.has_unfinished_requests():
                break
            if step == 6:
                llm.abort_request([f"aborted {request.name}" for request in some])
            if step >= 12 and len(preempted) < 2:
                taken += engine.pool.get_new_blocks(engine.free)
            elif taken:
                engine.pool.free_blocks(taken)
                taken = []
            found |= {one.request_id: answer_of(one) for one in llm.step() if one.finished}
    assert len(preempted) >= 2
    served.check(some, [found[request.name] for request in some])


def logits_of_prompts(served: Served) -> None:
    asking = greedy(STEPS)
    asking.prompt_logprobs = 0
    asked = served.request("options"), served.request("text")
    prompts = [request.for_vllm(served.engine.processor) for request in asked]
    outputs = served.engine.llm.generate(prompts, [asking, asking], use_tqdm=False)
    served.check(asked, [answer_of(output) for output in outputs])
    for output, missing in zip(outputs, (True, False), strict=True):
        shown = [next(iter(step.values())).logprob for step in output.prompt_logprobs[1:]]
        assert set(map(isnan, shown)) == {missing}


CHECKS = (
    at_once,
    graphs_read_what_steps_write,
    follow_up_questions,
    preempted_and_aborted,
    logits_of_prompts,
)


def main(root: Path) -> None:
    """Export a model to a folder, and run all of it in one engine."""
    served = serve("qwen2_5_vl", root)
    assert isinstance(runner_of(served), CPUModelRunner)
    assert isinstance(runner_of(served).model_state, PrunedModelState)
    # As vLLM does at its start where it compiles.
    runner_of(served).profile_run()
    free = served.engine.free
    for check in CHECKS:
        check(served)
        assert served.engine.free == free
        print(check.__name__, flush=True)
    # Those of the last step are dropped with the next one.
    assert len(served.engine.state.layouts) <= 2
