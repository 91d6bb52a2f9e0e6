"""The positions of text behind a clip, by vLLM's rule in place of transformers'.

A clip's tokens have positions in time, height and width. Behind it, Qwen2-VL and Qwen2.5-VL in
transformers continue at its start plus its larger side, whatever its length, so text behind a long
clip has positions of the clip's frames, too. vLLM continues one behind the largest position so far,
as Qwen2-VL defines it (arXiv 2409.12191, section 2.1).
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, get_args

import torch
from torch import Tensor

from prune.errors import UsageError
from prune.families import family_of_model_type
from prune.plan.model_id import ModelId, Positions

RULE = "get_rope_index"
"""The method of transformers' models that computes positions."""


def placed(model: ModelId, positions: Positions | None) -> ModelId:
    """The identity of a model whose positions follow a rule; transformers' if None.

    Raises:
        UsageError: there is no such rule.
    """
    if positions not in (None, *get_args(Positions)):
        raise UsageError(f"positions: expected {' or '.join(get_args(Positions))}, got {positions}")
    other = family_of_model_type(str(model.model_type)).other_positions
    return model.model_copy(update={"positions": "vllm" if other and positions == "vllm" else None})


def place(model: Any, positions: Positions | None) -> Callable[[], None]:
    """Have a model's positions follow a rule, where the two differ in its family.

    Args:
        model: a transformers VideoLLM.
        positions: nothing is changed unless it is "vllm".

    Returns:
        What undoes it.
    """
    changes = family_of_model_type(model.config.model_type).other_positions
    if positions != "vllm" or not changes or RULE in vars(model.model):
        return lambda: None
    inner = model.model
    setattr(inner, RULE, _VllmRule(inner))
    return lambda: delattr(inner, RULE)


class _VllmRule:
    """In place of a model's `get_rope_index`. No closure: a deep copy of the model has its own."""

    def __init__(self, inner: Any):
        self._inner = inner

    def __call__(
        self,
        input_ids: Tensor,
        mm_token_type_ids: Tensor,
        *args: Any,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """See transformers' `get_rope_index`."""
        positions, deltas = getattr(type(self._inner), RULE)(
            self._inner, input_ids, mm_token_type_ids, *args,
            attention_mask=attention_mask, **kwargs,
        )  # fmt: skip
        for row, kinds in enumerate(mm_token_type_ids):
            there = torch.ones_like(kinds, dtype=torch.bool)
            if attention_mask is not None:
                there = attention_mask[row].bool()
            found = continued(positions[:, row, there], kinds[there])
            positions[:, row, there] = found
            deltas[row] = found.max() + 1 - found.shape[1]
        return positions, deltas


def continued(positions: Tensor, kinds: Tensor) -> Tensor:
    """Positions in which every run of tokens begins one behind the largest position before it.

    Args:
        positions: int64 `[3, S]`, of one prompt.
        kinds: `[S]`, 0 for text, another number for each kind of media.

    Returns:
        int64 `[3, S]`; within a run all move by the same distance.
    """
    found = positions.clone()
    starts = [0, *((kinds[1:] != kinds[:-1]).nonzero()[:, 0] + 1).tolist(), len(kinds)]
    behind = 0
    for start, stop in pairwise(starts):
        run = found[:, start:stop]
        run += behind - run.min()
        behind = int(run.max()) + 1
    return found
