"""Tensor parallelism: workers in processes of their own, each with some of the heads."""

from pathlib import Path

import pytest
from vllm import LLM

from tests.vllm.engine import answer_of, greedy
from tests.vllm.folders import both
from tests.vllm.requests import REQUESTS, STEPS, Reference
from tests.vllm.served import TOLERANCE


@pytest.mark.slow
def test_two_workers_answer_as_the_masked_model(tmp_path: Path) -> None:
    model, processor, plan, folder = both("qwen3_vl", tmp_path)
    reference = Reference(model, processor, plan)
    llm = LLM(
        str(folder),
        dtype="float32",
        tensor_parallel_size=2,
        enforce_eager=True,
        max_model_len=2048,
        max_num_batched_tokens=128,
        kv_cache_memory_bytes=256 << 20,
        limit_mm_per_prompt={"video": 2, "image": 1},
        mm_processor_kwargs={"do_sample_frames": False},
    )
    prompts = [request.for_vllm(processor) for request in REQUESTS]
    outputs = llm.generate(prompts, greedy(STEPS), use_tqdm=False)
    for request, output in zip(REQUESTS, outputs, strict=True):
        answer, expected = answer_of(output), reference.pruned(request)
        assert answer.tokens == expected.tokens, request.name
        assert answer.distance(expected) < TOLERANCE, request.name
