"""Steps of generated tokens, as a CUDA graph would run them: captured once, and run again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vllm.forward_context import get_forward_context

from prune.serve.vllm.views import PrunedMetadata
from tests.vllm.engine import Engine, greedy
from tests.vllm.recorded import Recorded
from tests.vllm.requests import UNEQUAL
from tests.vllm.served import TOLERANCE, Served

ROWS, STEPS = 4, 40
"""Requests at once, and tokens of each: more than a block."""


class Graph:
    """In place of a model's `forward`: captures the first step of `ROWS` new tokens, for all."""

    def __init__(self, engine: Engine):
        self._state, self._forward = engine.state, engine.model.forward
        self._pass: Recorded | None = None
        self._output: Any = None
        self._work: list[Any] = []
        self.replays = 0

    def __call__(self, **given: Any) -> Any:
        step = self._state.step
        if step is None or not step.plain or not step.size == len(step.parts) == ROWS:
            return self._forward(**given)
        work = _work()
        if self._pass is None:
            with Recorded() as self._pass:
                self._output = self._forward(**given)
            self._work = work
            return self._output
        # How vLLM's CPU kernel divides its work among threads; no kernel of a GPU has that.
        for mine, now in zip(self._work, work, strict=True):
            mine.copy_(now)
        self._pass.replay()
        self.replays += 1
        return self._output


def _work() -> list[Any]:
    """The division of work of every group of layers."""
    found = {id(one): one for one in get_forward_context().attn_metadata.values()}
    assert all(isinstance(one, PrunedMetadata) for one in found.values())
    return [one.stock.scheduler_metadata for one in found.values()]


@contextmanager
def captured(engine: Engine) -> Iterator[Graph]:
    graph = engine.model.forward = Graph(engine)
    try:
        yield graph
    finally:
        del engine.model.forward


def test_one_capture_serves_other_tokens_blocks_and_requests(served: Served) -> None:
    engine = served.engine
    free = engine.free
    batches = [UNEQUAL[at : at + ROWS] for at in (0, 4)]
    with captured(engine) as graph:
        for requests in batches:
            for request, answer in zip(
                requests, engine.answers(requests, greedy(STEPS)), strict=True
            ):
                expected = served.reference.pruned(request, STEPS)
                assert answer.tokens == expected.tokens, request.name
                assert answer.distance(expected) < TOLERANCE, request.name
    # The first token of each batch comes from its prompts, the second was captured.
    assert graph.replays == 2 * (STEPS - 1) - 1
    assert engine.free == free
