"""What a worker knows of the plan that its model runs under."""

from dataclasses import dataclass, field

from prune.serve.vllm.layout import RequestLayout, ServedPlan
from prune.serve.vllm.prefill import Scratch
from prune.serve.vllm.step import Step

STATE = "_prune_state"
"""Attribute of the model, and of its layers' attention, that holds the state."""


@dataclass
class State:
    """The plan of a model, and the step that it runs.

    Attributes:
        plan: of the model.
        layouts: of the requests that are running.
        step: None in vLLM's own dummy runs.
        scratch: room for the keys of one layer's prompts.
        computed: states (tokens times layers) that were computed.
        keys_only: those of which a layer computed keys and values alone.
        without_queries: those of them of which no query was computed either.
        dense: states that the dense model computes for the same tokens.
    """

    plan: ServedPlan
    layouts: dict[str, RequestLayout] = field(default_factory=dict)
    step: Step | None = None
    scratch: Scratch = field(default_factory=Scratch)
    computed: int = 0
    keys_only: int = 0
    without_queries: int = 0
    dense: int = 0

    def begin(self, step: Step | None) -> None:
        """Note the step that runs next. Layers count the states of those that drop some."""
        self.step = step
        if step is not None and step.plain:
            states = step.size * len(self.plan.rules.reach)
            self.computed += states
            self.dense += states
