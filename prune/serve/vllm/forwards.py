"""What stands in place of the `forward` of a module of vLLM's model."""

from typing import Any

from vllm.forward_context import get_forward_context

from prune.serve.vllm.state import State
from prune.serve.vllm.step import Step


def step_that_runs(state: State) -> Step | None:
    """The step of a forward pass, if layers drop rows in it.

    None where all layers take all rows: in steps of generated tokens and requests without a video,
    and in vLLM's own dummy runs, which have no metadata. Then a module runs as vLLM wrote it, and
    nothing depends on the step's data, as in a CUDA graph nothing may.
    """
    step = state.step
    if step is None or step.plain or get_forward_context().attn_metadata is None:
        return None
    return step


class Forward:
    """In place of a module's `forward`, which it calls.

    Args:
        module: any.
        state: of its model.
    """

    def __init__(self, module: Any, state: State):
        self._forward, self._state = module.forward, state
        module.forward = self
