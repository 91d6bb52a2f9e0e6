"""An export in vLLM beside the masked dense model in transformers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.vllm.engine import Engine
from tests.vllm.folders import both
from tests.vllm.requests import REQUESTS, Answer, Reference, Request

TOLERANCE = 1e-4
"""Of log-probabilities in float32."""


@dataclass
class Served:
    """An engine on an export, and transformers' answers to the requests.

    Attributes:
        engine: vLLM.
        reference: the dense model.
    """

    engine: Engine
    reference: Reference
    _expected: dict[str, Answer] = field(default_factory=dict)

    def expected(self, request: Request) -> Answer:
        """The masked model's answer."""
        if request.name not in self._expected:
            self._expected[request.name] = self.reference.pruned(request)
        return self._expected[request.name]

    def request(self, name: str) -> Request:
        """A request by its name."""
        return next(request for request in REQUESTS if request.name == name)

    def blocks_of(self, name: str) -> int:
        """Most blocks that a request holds while it runs alone."""
        free = self.engine.free
        with self.engine.steps() as seen:
            self.engine.answers([self.request(name)])
        return free - min(left for _, left in seen)

    def check(self, requests: Sequence[Request], answers: Sequence[Answer]) -> None:
        """Compare answers with the masked model's."""
        for request, answer in zip(requests, answers, strict=True):
            expected = self.expected(request)
            assert answer.tokens == expected.tokens, request.name
            assert answer.distance(expected) < TOLERANCE, request.name


def serve(name: str, root: Path, **settings: Any) -> Served:
    """Export a model of a family, at vLLM's positions, and start an engine on it."""
    model, processor, plan, folder = both(name, root, "vllm")
    return Served(Engine(folder, processor, **settings), Reference(model, processor, plan))
