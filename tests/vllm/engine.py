"""An engine in this process, whose scheduler and blocks tests can see."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from vllm import LLM, SamplingParams
from vllm.distributed import cleanup_dist_env_and_memory

from prune.families import family_of_processor
from prune.serve.vllm.state import STATE, State
from tests.vllm.requests import STEPS, Answer, Request

BLOCKS = 2400


def greedy(steps: int) -> SamplingParams:
    """Greedy search for so many tokens."""
    return SamplingParams(
        temperature=0, max_tokens=steps, min_tokens=steps, ignore_eos=True, logprobs=1
    )


GREEDY = greedy(STEPS)


def answer_of(output: Any) -> Answer:
    """The answer in one of vLLM's outputs."""
    (said,) = output.outputs
    tokens = list(said.token_ids)
    pairs = zip(said.logprobs, tokens, strict=True)
    return Answer(tokens, [step[token].logprob for step, token in pairs])


class Engine:
    """vLLM on a model folder.

    Attributes:
        llm: vLLM's own interface.
        core: its engine core.
        alike: ids that transformers writes in place of vLLM's.
    """

    def __init__(self, folder: Path, processor: Any, **more: Any):
        given = {
            "dtype": "float32",
            "enforce_eager": True,
            "block_size": 32,
            "max_num_batched_tokens": 2048,
            "max_num_seqs": 32,
            "max_model_len": 2048,
            "num_gpu_blocks_override": BLOCKS,
            "kv_cache_memory_bytes": 256 << 20,
            "limit_mm_per_prompt": {"video": 2, "image": 1},
            # The dummy media of vLLM's profiling are as long as the context.
            "skip_mm_profiling": True,
            "mm_processor_kwargs": {"do_sample_frames": False},
        }
        self.llm = LLM(str(folder), **(given | more))
        self.processor = processor
        self.alike = {}
        if family_of_processor(processor).images_alike:
            # vLLM writes another placeholder for frames; features replace both.
            names = ["<video>", processor.image_token]
            video, image = processor.tokenizer.convert_tokens_to_ids(names)
            self.alike = {video: image}
        self.core = self.llm.llm_engine.engine_core.engine_core

        # Most tests ask the same again and again.
        self._manager.enable_caching = False

    @property
    def _manager(self) -> Any:
        return self.scheduler.kv_cache_manager

    @contextmanager
    def sharing(self) -> Iterator[list[int]]:
        """Use the prefix cache, empty at first; the tokens that each new request found there."""
        assert self.pool.reset_prefix_cache()
        seen: list[int] = []
        record = self._manager.record_prefix_cache_stats

        def watching(request: Any, num_hits: int) -> None:
            seen.append(num_hits)
            record(request, num_hits)

        self._manager.enable_caching = True
        self._manager.record_prefix_cache_stats = watching
        try:
            yield seen
        finally:
            self._manager.enable_caching = False
            del self._manager.record_prefix_cache_stats

    def close(self) -> None:
        """Leave room for another engine in this process."""
        self.llm.llm_engine.engine_core.shutdown()
        del self.llm, self.core
        gc.collect()
        cleanup_dist_env_and_memory()

    @property
    def scheduler(self) -> Any:
        """The scheduler."""
        return self.core.scheduler

    @property
    def pool(self) -> Any:
        """The pool of KV blocks."""
        return self.scheduler.kv_cache_manager.block_pool

    @property
    def free(self) -> int:
        """Number of free blocks."""
        return int(self.pool.get_num_free_blocks())

    @property
    def model(self) -> Any:
        """vLLM's model."""
        return self.core.model_executor.driver_worker.worker.model_runner.model

    @property
    def state(self) -> State:
        """What the worker knows of the plan."""
        found: State = getattr(self.model, STATE)
        return found

    @property
    def managers(self) -> Sequence[Any]:
        """The cache managers of all groups."""
        found: Sequence[Any] = self.scheduler.kv_cache_manager.coordinator.single_type_managers
        return found

    def chunks(self, tokens: int) -> AbstractContextManager[None]:
        """Run at most so many tokens in a step."""
        return self._limit("max_num_scheduled_tokens", tokens)

    def at_once(self, requests: int) -> AbstractContextManager[None]:
        """Run at most so many requests at once."""
        return self._limit("max_num_active_reqs", requests)

    @contextmanager
    def _limit(self, name: str, most: int) -> Iterator[None]:
        before = getattr(self.scheduler, name)
        setattr(self.scheduler, name, most)
        try:
            yield
        finally:
            setattr(self.scheduler, name, before)

    @contextmanager
    def blocks(self, number: int) -> Iterator[None]:
        """Leave only so many blocks free."""
        held = self.pool.get_new_blocks(self.free - number)
        try:
            yield
        finally:
            self.pool.free_blocks(held)

    @contextmanager
    def steps(self) -> Iterator[list[tuple[int, int]]]:
        """After every step the number of running requests and of free blocks."""
        seen: list[tuple[int, int]] = []
        schedule = self.scheduler.schedule

        def watching(*args: Any, **kwargs: Any) -> Any:
            found = schedule(*args, **kwargs)
            seen.append((len(self.scheduler.running), self.free))
            return found

        self.scheduler.schedule = watching
        try:
            yield seen
        finally:
            del self.scheduler.schedule

    @contextmanager
    def preempted(self) -> Iterator[list[str]]:
        """The requests that are preempted."""
        seen: list[str] = []
        preempt = self.scheduler._preempt_request

        def watching(request: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(request.request_id)
            return preempt(request, *args, **kwargs)

        self.scheduler._preempt_request = watching
        try:
            yield seen
        finally:
            del self.scheduler._preempt_request

    def answers(
        self, requests: Sequence[Request], sampling: SamplingParams = GREEDY
    ) -> list[Answer]:
        """Answers to requests that are all sent at once; the prompts are those of transformers."""
        prompts = [request.for_vllm(self.processor) for request in requests]
        outputs = self.llm.generate(prompts, sampling, use_tqdm=False)
        for request, output in zip(requests, outputs, strict=True):
            ids = request.inputs(self.processor)["input_ids"][0].tolist()
            assert [self.alike.get(i, i) for i in output.prompt_token_ids] == ids, request.name
        return [answer_of(output) for output in outputs]
